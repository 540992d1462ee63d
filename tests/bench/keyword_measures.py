"""What the benchmarks of keywords share: sets of texts with keywords that people gave, F1, and recordings with noise."""

import random
import re
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set, Tuple

import numpy as np
import soundfile

from utils.audio.given import given
from utils.core.errors import UserError
from utils.core.languages import in_characters
from utils.keywords.background import Background
from utils.keywords.coherence import COMMON, word_vectors
from utils.keywords.documents import Document, Slot
from utils.text.letters import joined
from utils.text.scoring import difference, interval

LANGUAGES = {"english": "en", "french": "fr", "portuguese": "pt", "polish": "pl"}


@dataclass(frozen=True)
class Given:
    """A text with the keywords that people gave it."""

    name: str
    text: str
    keys: Tuple[str, ...]


def add_options(p: ArgumentParser) -> None:
    """Add the options that the benchmarks of spoken keywords share."""
    p.add_argument("--vectors", required=True, metavar="PATH", help="word vectors, for coherence")
    p.add_argument("--split", default="test", choices=("dev", "test"))
    p.add_argument("--noise", metavar="FOLDER", help="of recordings to mix in")
    p.add_argument("--snr", type=float, default=10.0, help="of speech to noise, dB")


def texts_of(folder: Path) -> Tuple[str, List[Given]]:
    """The language and the texts of a folder in the form of LIAAD's KeywordExtractor-Datasets, sorted by name.

    Raises:
      UserError: it has no texts.
    """
    paths = sorted((folder / "docsutf8").glob("*.txt"))
    if not paths:
        raise UserError(f"{folder} has no docsutf8/*.txt")
    keys = [tuple(_read(folder / "keys" / f"{path.stem}.key").splitlines()) for path in paths]
    texts = [Given(path.stem, _read(path), own) for path, own in zip(paths, keys)]
    return LANGUAGES[_read(folder / "language.txt").strip().lower()], texts


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").replace("\ufeff", "").replace("\0", " ")


def gold(keys: Sequence[str], language: str) -> Set[str]:
    """The keywords that people gave, stemmed."""
    return {stemmed(key, language) for key in keys} - {""}


def against(phrases: Sequence[str], wanted: Set[str], language: str, top: int) -> float:
    """F1 of the first `top` phrases that differ, stemmed, against those that people gave."""
    found = list(dict.fromkeys(filter(None, (stemmed(phrase, language) for phrase in phrases))))
    return f1(found[:top], wanted)


def f1(found: Sequence[str], wanted: Set[str]) -> float:
    """F1 of a list against a set; 1 where both are empty."""
    return 2 * len(wanted.intersection(found)) / (len(set(found)) + len(wanted)) if found or wanted else 1.0


@lru_cache(maxsize=None)
def stemmed(phrase: str, language: str) -> str:
    """Small letters; of English, without endings (Porter 1980)."""
    from gensim.parsing.porter import PorterStemmer

    words = re.findall(r"\w+", phrase.lower())
    return " ".join(PorterStemmer().stem(word) for word in words) if language == "en" else " ".join(words)


def figures(scores: np.ndarray) -> Dict[str, float]:
    """Mean in percent, with its 95% interval over documents."""
    low, high = interval(scores, np.ones(len(scores)))
    return {"mean": 100.0 * float(scores.mean()), "low": low, "high": high}


def points_above(scores: np.ndarray, others: np.ndarray) -> Dict[str, float]:
    """Points above the others, by the paired bootstrap over documents."""
    found = difference(scores, others, np.ones(len(scores)))
    return {"mean": found.value, "low": found.low, "high": found.high, "p": found.p}


def share(scores: np.ndarray, others: np.ndarray) -> Dict[str, float]:
    """Percent of the others' mean, with its 95% interval over documents, both of which are drawn together."""
    low, high = interval(1e6 * scores, 1e6 * others)  # it takes counts, of at least 1 in all
    return {"mean": 100.0 * float(scores.sum() / max(others.sum(), 1e-9)), "low": low, "high": high}


def vectors_of(path: Path, documents: Sequence[Document], background: Background) -> Dict[str, np.ndarray]:
    """Vectors of all words of documents, for coherence."""
    words = sorted({word for one in documents for run in one.runs for slot in run for word, _ in slot.words})
    return word_vectors(path, words, background.most_frequent(COMMON))


def best_path(document: Document) -> Document:
    """A document of the recognised words alone, each taken for right."""
    runs = [[Slot(((slot.words[0][0], 1.0),), slot.start, slot.end) for slot in run] for run in document.runs]
    return Document(document.name, document.language, runs, document.seconds, [], document.files)


def lines(document: Document) -> str:
    """A document as a text, a sentence for each run, for other libraries."""
    return ".\n".join(" ".join(slot.words[0][0] for slot in run) for run in document.runs) + "."


def texts(found: Sequence[Any]) -> List[str]:
    """The texts of keywords."""
    return [one.text for one in found]


def said(phrase: str, transcript: Document) -> bool:
    """Whether the words of a keyword stand beside each other in the transcript."""
    runs = [joined([slot.words[0][0] for slot in run]) for run in transcript.runs]
    blank = "" if in_characters(transcript.language) else " "
    return any(f"{blank}{phrase.lower()}{blank}" in f"{blank}{run}{blank}" for run in runs)


def misrecognised(lists: Sequence[Sequence[str]], transcripts: Sequence[Document]) -> int:
    """How many keywords of each document nobody said."""
    return sum(not said(phrase, one) for one, phrases in zip(transcripts, lists) for phrase in phrases)


def noises_of(folder: Path) -> List[Tuple[np.ndarray, int]]:
    """Recordings of noise with their rates in Hz."""
    with ExitStack() as stack:
        return [soundfile.read(str(one.path), dtype="float32") for one in given([str(folder)], stack)[0]]


def mixed(x: np.ndarray, rate: int, name: str, noises: Sequence[Tuple[np.ndarray, int]], snr: float) -> np.ndarray:
    """Samples (T,) with one of the noises, always the same for a name; as they are without noises.

    Raises:
      UserError: the noise's rate is no multiple of the speech's.
    """
    if not noises:
        return x
    noise, noise_rate = random.Random(name).choice(noises)
    if noise_rate % rate:
        raise UserError(f"noise at {noise_rate} Hz can't be mixed with speech at {rate} Hz")
    noise = np.resize(noise.reshape(len(noise), -1).mean(1)[:: noise_rate // rate], len(x))
    y = x + noise * np.sqrt((x**2).mean() / max(float((noise**2).mean()), 1e-10) / 10 ** (snr / 10))
    return y / max(1.0, float(np.abs(y).max()))


def condition(options: Any) -> str:
    """The noise that a benchmark's options name, for tables."""
    return f"{options.snr:g} dB" if options.noise else "clean"
