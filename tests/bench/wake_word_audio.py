"""Recordings of the benchmark `wake_words`: noise mixed in, and what the network says of each, kept on disk.

The mixing follows Picovoice's wake-word-benchmark (mixer.py): pieces of noise, each scaled to its peak, one after the other;
speech is scaled so that its strongest frame of 512 samples has 10 times the energy of the noise's strongest frame there.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from local.asterisk import decode_g722
from utils.audio.given import MEDIA
from utils.audio.recordings import recording
from utils.audio.resampling import resample
from utils.bundle.evidence import Evidence
from utils.bundle.recogniser import Recogniser
from utils.core.files import atomic_path

FRAME = 512  # samples at 16 kHz whose energy counts
RATE = 16000
AROUND = 0.5  # seconds of noise before and after a recording of a keyword, where it may still be found
PIECE = 900.0  # seconds of audio in a file on disk
SHORTEST = 0.1  # seconds of a prompt
BYTES = 8000  # of a second of G.722
BACKGROUND = ("speechocean762", "fsdd", "aishell_sample", "common_voice", "coffee_commands", "noise")
WORDS = ("alexa", "jarvis", "smart_mirror")


@dataclass(frozen=True)
class Part:
    """Recordings of one kind."""

    name: str
    files: List[Path]
    background: bool  # whether it lacks the wake words


def parts(corpora: Path, asterisk: Path) -> List[Part]:
    """The recordings of wake words, and those that lack them.

    Args:
      corpora: folder with `wake_words` and the folders of BACKGROUND.
      asterisk: folder with prompts of Asterisk in G.722, of which those with names of their own count; it may be missing.
    """
    found = [Part(word, _media(corpora / "wake_words" / word), False) for word in WORDS]
    found += [Part(name, _media(corpora / name), True) for name in BACKGROUND]
    prompts = [path for path in sorted(asterisk.rglob("*.g722")) if path.stat().st_size > SHORTEST * BYTES]
    times = Counter(map(name_of, prompts))  # digits and letters have one name in all languages
    return found + [Part("asterisk", [path for path in prompts if times[name_of(path)] == 1], True)]


def name_of(path: Path) -> str:
    """How a recording is named in the cache: with its folder."""
    return f"{path.parent.name}/{path.stem}"


def _media(folder: Path) -> List[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA)


def samples_of(path: Path) -> np.ndarray:
    """(T,) float32 at RATE."""
    if path.suffix == ".g722":
        return decode_g722(path).astype(np.float32) / 32768
    with recording(path) as audio:
        return resample(np.concatenate([block.mean(1, dtype=np.float32) for block in audio.blocks]), audio.rate, RATE)


class Noise:
    """Noise by kinds: each folder of `noise`, and the kitchen of `coffee_commands`; a piece is of a kind drawn evenly."""

    def __init__(self, corpora: Path, seconds: float = 5.0) -> None:
        """seconds: of a piece of the kitchen."""
        kitchen = samples_of(corpora / "coffee_commands" / "kitchen.opus")
        step = int(seconds * RATE)
        self.kinds = [[kitchen[first : first + step] for first in range(0, len(kitchen) - step + 1, step)]]
        folders = sorted(path for path in (corpora / "noise").iterdir() if path.is_dir())
        self.kinds += [[samples_of(path) for path in _media(folder)] for folder in folders]

    def add(self, speech: np.ndarray, name: str, ratio: float = 10.0, around: float = 0.0) -> np.ndarray:
        """Speech (T,) with noise, scaled to a peak of 1; what noise depends on `name` alone.

        Args:
          ratio: dB.
          around: seconds of noise alone before and after.
        """
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
        pieces: List[np.ndarray] = []
        edge = int(around * RATE)
        wanted = len(speech) + 2 * edge
        while sum(map(len, pieces)) < wanted:
            kind = self.kinds[random.integers(len(self.kinds))]
            piece = kind[random.integers(len(kind))]
            piece = np.roll(piece, random.integers(len(piece)))
            pieces.append(piece / max(1e-6, float(np.abs(piece).max())))
        mixed = np.concatenate(pieces)[:wanted]
        there = mixed[edge : edge + len(speech)]
        speech = speech / max(1e-6, float(np.abs(speech).max()))
        there += speech * np.sqrt(_energy(there) * 10 ** (ratio / 10) / max(1e-9, _energy(speech)))
        return (mixed / max(1e-6, float(np.abs(mixed).max()))).astype(np.float32)


def _energy(samples: np.ndarray) -> float:
    """Of the strongest frame."""
    padded = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    return float((padded.astype(np.float64) ** 2).sum(1).max())


Sounds = Callable[[Path], np.ndarray]


def clean(path: Path) -> np.ndarray:
    """A recording as it is."""
    return samples_of(path)


def keep(recogniser: Recogniser, part: Part, condition: str, sounds: Sounds, folder: Path) -> None:
    """Write what the network says of a part, unless it is there, in files of at most PIECE seconds or so."""
    done = {str(name) for path in _paths(folder, part.name, condition) for name in np.load(path)["names"]}
    waiting: Dict[str, np.ndarray] = {}
    number = len(_paths(folder, part.name, condition))
    for path in part.files:
        name = name_of(path)
        if name not in done:
            waiting[name] = sounds(path)
        if sum(map(len, waiting.values())) > PIECE * RATE or (path == part.files[-1] and waiting):
            _write(folder / f"{part.name}-{condition}-{number:03d}.npz", waiting, recogniser)
            waiting, number = {}, number + 1


def _write(path: Path, sounds: Dict[str, np.ndarray], recogniser: Recogniser) -> None:
    found = recogniser.evidence([(samples, RATE) for samples in sounds.values()])
    lengths = [[len(one.subword), len(one.frames)] for one in found]
    some = [one for one in found if len(one.subword)]
    seconds = [one.seconds for one in found]
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            names=np.array(list(sounds)),
            lengths=np.array(lengths),
            seconds=np.array(seconds),
            shifts=np.array([some[0].subword_seconds, some[0].word_seconds]),
            subword=np.concatenate([one.subword for one in some]).astype(np.float16),
            frames=np.concatenate([one.frames for one in some]).astype(np.float16),
            blank=np.concatenate([one.blank for one in some]).astype(np.float32),
        )


def _paths(folder: Path, part: str, condition: str) -> List[Path]:
    return sorted(folder.glob(f"{part}-{condition}-*.npz"))


def kept(folder: Path, part: str, condition: str) -> Iterator[Tuple[str, Evidence]]:
    """Names and evidence that `keep` wrote."""
    for path in _paths(folder, part, condition):
        with np.load(path) as stored:
            table = {key: stored[key] for key in stored.files}
        subword_seconds, word_seconds = map(float, table["shifts"])
        fine = coarse = 0
        for name, (t, t2), seconds in zip(table["names"], table["lengths"], table["seconds"]):
            subword = table["subword"][fine : fine + t].astype(np.float32)
            frames, blank = table["frames"][coarse : coarse + t2].astype(np.float32), table["blank"][coarse : coarse + t2]
            yield str(name), Evidence(subword, frames, blank, subword_seconds, word_seconds, float(seconds))
            fine, coarse = fine + t, coarse + t2


def hours(found: Sequence[Evidence]) -> float:
    """Of all recordings."""
    return sum(one.seconds for one in found) / 3600
