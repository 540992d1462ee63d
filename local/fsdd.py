"""fsdd, the Free Spoken Digit Dataset: English digits, six speakers, 8 kHz.

https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.

`connected` (the default task): recordings of one speaker are joined to sequences of several digits, each recording in exactly one
sequence of a pass; whole speakers are held out for dev and test. `isolated`: single digits in the official split (recordings
0 to 4 of each digit and speaker are test), with recordings 5 to 9 as dev.
"""

import logging
import random
import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Tuple

import numpy as np
import soundfile

from utils.audio.decoding import Copies
from utils.core import download
from utils.core.errors import UserError
from utils.core.parallel import threaded
from utils.corpus import audio
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options
from utils.corpus.naming import named

VERSION = "1.0.10"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{VERSION}.tar.gz"
RECORDINGS = 3000
RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")
FADE = 0.005  # seconds at both ends of a recording, so that joins do not click
OPTIONS = {"task": "connected", "dev": ["lucas"], "test": ["theo"], "digits": [3, 7], "gap": 0.05, "passes": 1, "seed": 0}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: fsdd-connected, fsdd-isolated."""
    return named(f"fsdd-{options(config, OPTIONS)['task']}", config, OPTIONS, "en", said=("task",))


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy: all of them, they are small."""
    return sorted(p for p in source.rglob("*.wav") if NAME.fullmatch(p.stem))


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Download the corpus unless data.source names a copy; single digits, or sequences joined below `out`/wav."""
    chosen = options(config, OPTIONS)
    if chosen["task"] not in ("connected", "isolated"):
        raise UserError(f"data.options.task={chosen['task']}: there are connected, isolated")
    source = Path(config.source) if config.source else downloads / f"free-spoken-digit-dataset-{VERSION}"
    if not config.source and not source.is_dir():
        archive = downloads / f"v{VERSION}.tar.gz"
        download.fetch(URL, archive)
        download.unpack(archive, source)
    waves = tables(source)
    if len(waves) != RECORDINGS:
        raise UserError(
            f"{source} holds {len(waves)} recordings instead of {RECORDINGS}; give the repository of the corpus, "
            f"version {VERSION}" + ("" if config.source else ", or delete the folder to download it again")
        )
    if chosen["task"] == "isolated":
        return Corpus([_digit(wave, config.language) for wave in waves], [])
    return _connected(waves, chosen, config.language, out, nj)


def _parts(wave: Path) -> Tuple[str, str, str]:
    """The digit, the speaker, and the number of a recording, from its name."""
    digit, speaker, number = wave.stem.split("_")  # `tables` has only names of this form
    return digit, speaker, number


def _digit(wave: Path, language: str) -> Utterance:
    digit, speaker, number = _parts(wave)
    split = "test" if int(number) < 5 else "dev" if int(number) < 10 else "train"
    return Utterance(wave.stem, split, WORDS[int(digit)], speaker, language, wave)


def _connected(waves: List[Path], chosen: Dict, language: str, out: Path, nj: int) -> Corpus:
    by_speaker: Dict[str, List[Path]] = defaultdict(list)
    for wave in waves:
        by_speaker[_parts(wave)[1]].append(wave)
    held_out = {**dict.fromkeys(chosen["dev"], "dev"), **dict.fromkeys(chosen["test"], "test")}
    if not set(held_out) <= set(by_speaker) or len(held_out) < len(chosen["dev"]) + len(chosen["test"]):
        raise UserError(
            f"data.options.dev={chosen['dev']} and test={chosen['test']} must be different speakers of "
            f"{', '.join(sorted(by_speaker))}"
        )
    loaded = dict(zip(waves, threaded(partial(_load, copies=Copies(out / "audio")), waves, nj, "reading")))
    left_out = [
        LeftOut(wave.stem, held_out.get(_parts(wave)[1], "train"), problem) for wave, (_, problem) in loaded.items() if problem
    ]
    utterances = []
    for speaker, own in sorted(by_speaker.items()):
        split = held_out.get(speaker, "train")
        usable = [w for w in own if not loaded[w][1]]
        for n in range(chosen["passes"] if split == "train" else 1):
            for i, sequence in enumerate(_sequences(usable, chosen["digits"], random.Random(f"{chosen['seed']} {speaker} {n}"))):
                identity = f"{speaker}-{n}-{i:03d}"
                wav = out / "wav" / f"{identity}.wav"
                if not wav.exists():
                    audio.write_wav(wav, _join([loaded[w][0] for w in sequence], chosen["gap"]), RATE)
                text = " ".join(WORDS[int(w.stem[0])] for w in sequence)
                raw = " ".join(w.stem for w in sequence)
                utterances.append(Utterance(identity, split, text, speaker, language, wav, raw=raw))
    return Corpus(utterances, left_out, waves)


def _sequences(waves: List[Path], lengths: List[int], rng: random.Random) -> List[List[Path]]:
    """Every recording once, in sequences of `lengths[0]` to `lengths[1]`, in random order; the last may be longer."""
    waves = rng.sample(waves, len(waves))
    out: List[List[Path]] = []
    while waves:
        n = rng.randint(*lengths)
        if len(waves) - n < lengths[0]:
            n = len(waves)
        out.append(waves[:n])
        waves = waves[n:]
    return out


def _load(wave: Path, copies: Copies) -> Tuple[np.ndarray, str]:
    """(T,) int16 samples, and what is wrong with them."""
    found = audio.check(wave, [(0.0, None)], copies)
    problem = found.problems[0] or ("" if found.rate == RATE else f"{found.rate} Hz instead of {RATE}: {wave}")
    return (np.zeros(0, dtype=np.int16), problem) if problem else (soundfile.read(str(found.path), dtype="int16")[0], "")


def _join(pieces: List[np.ndarray], gap: float) -> np.ndarray:
    """Recordings one after the other, faded at their ends, `gap` seconds of silence between them: (T,) int16."""
    ramp = np.linspace(0, 1, int(FADE * RATE), dtype=np.float32)
    silence = np.zeros(int(gap * RATE), dtype=np.int16)
    out = []
    for piece in pieces:
        faded = piece.astype(np.float32)
        faded[: len(ramp)] *= ramp[: len(faded)]
        faded[-len(ramp) :] *= ramp[::-1][-len(faded) :]
        out += [silence, faded.astype(np.int16)]
    return np.concatenate(out[1:])
