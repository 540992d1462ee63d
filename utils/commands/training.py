"""A bundle for the commands of a grammar, from a general one, with synthesised sentences and with recordings if there are any."""

import json
import logging
import random
import time
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from torch import Tensor

from utils.audio.given import MEDIA
from utils.audio.noises import Recordings, noise_files, samples_of
from utils.audio.resampling import resample
from utils.bundle.evidence import Evidence
from utils.bundle.files import FolderFiles
from utils.bundle.manifest import Manifest, write_manifest
from utils.bundle.networks import WHOLE, is_quantised, write_networks
from utils.bundle.recogniser import Recogniser
from utils.commands.adapting import HEARD, Network, Recorded, adapt
from utils.commands.recognise import Commands
from utils.commands.speech import RATE, Speakers
from utils.commands.tuning import Measured, trial, tune
from utils.commands.weights import DEFAULT, write_weights
from utils.core.errors import UserError
from utils.core.files import digest, files_in, write_json
from utils.core.splits import cuts_path
from utils.core.tables import duration
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.engine.contents import ABOUT
from utils.grammars.grammar import Command
from utils.nn.model import save

log = logging.getLogger("nuptse")
READ = 6  # sentences that the decoder scores, as with the usual weights
WORDS = (3, 9)  # of a synthesised sentence outside the grammar
LONGEST = 10.0  # seconds of other recordings; more are cut off
TOGETHER = 16  # recordings of which the network is asked at a time
LABELS = "label.json"
MODEL = "model.safetensors"  # of a bundle
LEAST = 20  # recordings of commands to which a network is adapted
AT_HOME = 3  # versions of each recording beside it
Example = Tuple[np.ndarray, Optional[Command]]  # samples (T,) at RATE, and what they mean; None for other sounds


def train(
    path: Path,
    bundle: Path,
    out: Path,
    noise: Optional[Path] = None,
    speech: Optional[Path] = None,
    recordings: Optional[Path] = None,
    sentences: int = 120,
    others: int = 60,
    seed: int = 0,
    slots: Mapping[str, Sequence[str]] = {},
    ambiguous: str = "refuse",
) -> Measured:
    """Find the weights that suit a grammar, and write a copy of the bundle that has them.

    Args:
      path: of the grammar.
      bundle: of the general model; a plain folder.
      noise: a folder of noises; None for none.
      speech: other speech, which no command is: a folder of recordings, or of a finished stage 0; None for none.
      recordings: commands with LABELS, see `labelled`; None for none.
      sentences: of the grammar, that are synthesised.
      others: sentences outside the grammar that are synthesised, and most recordings of `speech` and of `noise` each.
      slots, ambiguous: as in `Commands.open`.
    Raises:
      UserError: as `Commands.open`, `Speakers.say` and `labelled` do; a sealed bundle; `out` exists; nothing can be recognised.
    """
    if out.exists():
        raise UserError(f"{out} exists; name another folder, or remove it")
    files = FolderFiles(bundle)
    commands = Commands.open(path, Recogniser.open(bundle), slots, ambiguous, DEFAULT)
    commands = commands.weighed(replace(commands.weights, read=READ))
    real = list(labelled(recordings)) if recordings else []
    noises = Recordings(noise_files(noise), RATE) if noise else []
    speakers = Speakers(commands.recogniser.language, noises, seed)
    began = time.perf_counter()
    examples = list(_synthesised(commands, speakers, sentences, others, seed))
    if speech:
        examples += [(samples, None) for samples in speakers.at_home(_speech(speech, commands, others, seed))]
    draw = random.Random(seed)
    examples += [(samples[: int(LONGEST * RATE)], None) for samples in draw.sample(noises, min(others, len(noises)))]
    heard = list(zip(_heard(commands, [samples for samples, _ in examples]), (meant for _, meant in examples)))
    draw.shuffle(heard)
    recorded = _recorded(commands, speakers, real)
    count = len(heard) + sum(len(one.versions) for one in recorded)
    log.info("%d recordings made and heard in %s", count, duration(time.perf_counter() - began))
    network: Dict[str, Tensor] = {}
    if len(recorded) >= LEAST:
        adapted = adapt(commands, recorded, [one for one, meant in heard if meant is None], seed)
        log.info("the network: %s; %s", adapted, duration(time.perf_counter() - began))
        recorded, network = adapted.recorded, adapted.state if adapted.share else {}
        if network:
            net = Network(commands)
            heard = [(net.heard(network, one) if len(one.subword) else one, meant) for one, meant in heard]
    elif recorded:
        log.info("the network stays as it is: %d recordings are too few to adapt it (%d)", len(recorded), LEAST)
    trials = [trial(commands, one, meant, n) for n, (one, meant) in enumerate(heard)]
    trials += [trial(commands, one, each.meant, n) for n, each in enumerate(recorded) for one in each.versions[:HEARD]]
    if not any(one.command and one.right.any() for one in trials):
        raise UserError(f"none of {sum(one.command for one in trials)} commands is recognised with {bundle}; take another bundle")
    weights, measured = tune(trials, commands.weights, bonus=bool(real))
    note = f"The weights of commands suit {commands.grammar.name}."
    partial = out.with_name(f"{out.name}.partial")
    rmtree(partial, ignore_errors=True)
    copytree(files.path, partial)
    write_weights(partial, weights, commands.grammar.name, asdict(measured))
    about = files.manifest
    if network:
        about = write_network(commands, network, partial, about)
    write_manifest(partial, replace(about, notes=[*about.notes, note], files={}))
    partial.rename(out)
    log.info("weights tuned in %s", duration(time.perf_counter() - began))
    return measured


def labelled(folder: Path) -> Iterator[Tuple[np.ndarray, Command]]:
    """The recordings that LABELS in a folder names, below it, with what they mean.

    LABELS is a JSON object: name of the recording without its suffix -> intent and slots, as
    github.com/Picovoice/speech-to-intent-benchmark has it.

    Raises:
      UserError: no such file, or of another form; a recording that isn't there.
    """
    try:
        labels = json.loads((folder / LABELS).read_text(encoding="utf-8"))
        meant = {name: meaning_of(label) for name, label in labels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{folder / LABELS} can\'t be read ({error}): write {{"NAME": {{"intent": "...", "slots": {{"slot": "value"}}}}}} '
            "for each recording NAME.wav"
        ) from None
    paths = {path.stem: path for path in files_in(folder) if path.suffix.lower() in MEDIA}
    for name in sorted(meant):
        if name not in paths:
            raise UserError(f"{folder} has no recording {name}, which {LABELS} names; put it there, or leave it out of {LABELS}")
        yield samples_of(paths[name], RATE), meant[name]


def meaning_of(label: Mapping[str, Any]) -> Command:
    """What an entry of LABELS says; blanks around values are left out."""
    slots = {slot: value.strip() if isinstance(value, str) else value for slot, value in label["slots"].items()}
    return Command(label["intent"], slots)


def _synthesised(commands: Commands, speakers: Speakers, sentences: int, others: int, seed: int) -> Iterator[Example]:
    """Sentences of the grammar, and others of the bundle's words."""
    drawn: List[Tuple[List[str], Optional[Command]]] = [*commands.grammar.sentences(sentences, seed)]
    draw = random.Random(seed)
    for _ in range(others):
        words = draw.sample(commands.table.words, min(draw.randint(*WORDS), len(commands.table.words)))
        if commands.grammar.meaning(words) is None:
            drawn.append((words, None))
    said = speakers.at_home(speakers.say([words for words, _ in drawn]))
    return ((samples, meant) for samples, (_, meant) in zip(said, drawn))


def _speech(folder: Path, commands: Commands, count: int, seed: int) -> List[np.ndarray]:
    """Some recordings of a folder, or training utterances of a stage 0 that are no commands, at RATE."""
    draw, most = random.Random(seed), int(LONGEST * RATE)
    if cuts_path(folder, "train").exists():
        grammar = commands.grammar
        cuts = [cut for cut in read_cuts(folder, "train") if grammar.meaning(cut.supervisions[0].text.split()) is None]
        chosen = draw.sample(cuts, min(count, len(cuts)))
        return [resample(np.asarray(load(cut)[0], np.float32), int(cut.sampling_rate), RATE)[:most] for cut in chosen]
    paths = sorted(path for path in files_in(folder) if path.suffix.lower() in MEDIA)
    if not paths:
        raise UserError(f"{folder} has no audio file; name a folder of recordings, or of a finished stage 0")
    return [samples_of(path, RATE)[:most] for path in draw.sample(paths, min(count, len(paths)))]


def _heard(commands: Commands, sounds: Sequence[np.ndarray]) -> List[Evidence]:
    """What the network says of sounds, with features."""
    parts = [sounds[first : first + TOGETHER] for first in range(0, len(sounds), TOGETHER)]
    return [one for part in parts for one in commands.recogniser.evidence([(samples, RATE) for samples in part], features=True)]


def _recorded(commands: Commands, speakers: Speakers, real: Sequence[Tuple[np.ndarray, Command]]) -> List[Recorded]:
    """Each recording as it is, and as it may be heard at home."""
    clean = [samples for samples, _ in real]
    versions = [clean, *(replace(speakers, seed=speakers.seed + 1 + n).at_home(clean) for n in range(AT_HOME))]
    heard = [_heard(commands, sounds) for sounds in versions]
    return [Recorded(meant, list(every)) for (_, meant), *every in zip(real, *heard)]


def write_network(commands: Commands, state: Dict[str, Tensor], folder: Path, about: Manifest) -> Manifest:
    """Put other weights into the copy of a bundle, in all forms that it has; returns its new description.

    What was made with the other network, such as an index, is none of this bundle's: it is known by another name.
    """
    trained = commands.recogniser.trained
    trained.model.load_state_dict(state)
    save(trained.model, folder / MODEL)
    if (folder / WHOLE).exists():
        found = write_networks(trained.model, trained.about["feature_dim"], folder, is_quantised(folder / WHOLE))
        write_json(folder / ABOUT, {**trained.about, **found})
    note = (
        f"The network is adapted to recordings of {commands.grammar.name}; for other speech take the bundle that it comes from."
    )
    return replace(about, model=digest(folder / MODEL)[: len(about.model)], notes=[*about.notes, note])
