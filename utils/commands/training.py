"""A bundle for the commands of a grammar, from a general one and without a recording of them."""

import logging
import random
import time
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

import numpy as np

from utils.audio.noises import noise_files, samples_of
from utils.audio.resampling import resample
from utils.bundle.files import FolderFiles
from utils.commands.adapting import Example, adapt, land
from utils.commands.speech import RATE, Speakers
from utils.core.errors import UserError
from utils.core.tables import duration
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.engine import k2
from utils.grammars.grammar import Grammar, read_grammar

log = logging.getLogger("nuptse")
QUICKER = (1.0, 1.1, 1.2, 1.3)  # speeds of real speech: commands are said quicker than sentences are read


def train(
    path: Path,
    bundle: Path,
    out: Path,
    noise: Optional[Path],
    speech: Optional[Path],
    sentences: int,
    utterances: int,
    epochs: int,
    seed: int,
    slots: Mapping[str, Sequence[str]] = {},
    ambiguous: str = "refuse",
) -> None:
    """Draw sentences, have them synthesised in several voices, rooms and noises, adapt the general model, write a bundle.

    Args:
      path: of the grammar.
      bundle: of the general model; a plain folder.
      noise: a folder of noises; None for none.
      speech: folder of a finished stage 0, whose training speech is used as well; None for none.
      sentences, utterances: how many of the grammar are drawn, and of `speech`.
      slots, ambiguous: as in `Commands.open`.
    Raises:
      UserError: as `Commands.open`, `Speakers.say`, `adapt` and `land` do; a sealed bundle.
    """
    if out.exists():
        raise UserError(f"{out} exists; name another folder, or remove it")
    files = FolderFiles(bundle)
    engine = k2.open(files)
    grammar = Grammar(read_grammar(path, slots), engine.normalise, files.manifest.language, ambiguous)
    engine.rows(grammar.words)  # refuses words that can't be pronounced, before any work
    speakers = Speakers(files.manifest.language, [samples_of(path, RATE) for path in noise_files(noise)] if noise else [], seed)
    began = time.perf_counter()
    drawn = [words for words, _ in grammar.sentences(sentences, seed)]
    said: List[Example] = list(zip(drawn, speakers.say(drawn)))
    said += _real(speech, utterances, seed) if speech else []
    examples = list(zip([words for words, _ in said], speakers.at_home([samples for _, samples in said])))
    seconds = sum(len(samples) for _, samples in examples) / RATE
    log.info("%d sentences, %s of audio, made in %s", len(examples), duration(seconds), duration(time.perf_counter() - began))
    adapt(engine, examples, RATE, log, epochs, seed)
    land(engine, files, out, f"The network was adapted to the commands of {grammar.name}; everything else is as it was before.")


def _real(folder: Path, count: int, seed: int) -> List[Example]:
    """Some training utterances of a stage 0, quicker than they were said."""
    cuts, draw = list(read_cuts(folder, "train")), random.Random(seed)
    chosen = draw.sample(cuts, min(count, len(cuts)))
    out: List[Example] = []
    for cut in chosen:
        samples = np.asarray(load(cut)[0], np.float32)
        faster = resample(samples, int(cut.sampling_rate * draw.choice(QUICKER)) // 50 * 50, RATE)
        out.append((cut.supervisions[0].text.split(), faster))
    return out
