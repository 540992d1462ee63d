"""Keywords: what to listen for, from text, from a pronunciation, or from recordings. Nothing is trained."""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence

import numpy as np

from utils.bundle.evidence import Evidence, Rows
from utils.bundle.recogniser import Recogniser, Sound
from utils.core.errors import UserError
from utils.search.scoring import Sounds, advance, begin, normaliser, pronunciations, relative, sounds

MOST = 8  # pronunciations of a keyword from text
PRONOUNCED = "="  # between a keyword and its units


@dataclass(frozen=True)
class Keyword:
    """What the two heads are asked for."""

    name: str
    vectors: np.ndarray  # (M, dim) float32, unit length, of its words in order; (0, dim) without a word head, or without words
    bias: np.ndarray  # (M,) float32
    spoken: List[List[int]]  # its pronunciations, ids of units; at least one, none empty
    words: List[str]  # as transcripts have them; none where only recordings are known
    recordings: int = 0  # that `heard` comes from
    heard: Optional[np.ndarray] = None  # (dim,) float32, unit length: the vector of the recordings; None without any


def from_text(recogniser: Recogniser, line: str) -> Keyword:
    """A keyword as it is written: one word or several, known or not.

    Args:
      line: 'smart mirror', or with a pronunciation of the whole 'smart mirror = S M AA R T M IH R ER'.
    Raises:
      UserError: no word in it; words that the model has no pronunciation or no vector for; unknown units.
    """
    text, given, units = (part.strip() for part in line.partition(PRONOUNCED))
    words = recogniser.normalise(text).split()
    if not words:
        raise UserError(f"the keyword '{line.strip()}' has no word; write it as it is said")
    rows = recogniser.rows(words)
    terms = list(range(len(words)))
    spoken = [_ids(recogniser, units, line)] if given else pronunciations(rows, terms, MOST)
    there = rows.vectors.any(1).all()
    return Keyword(text, rows.vectors if there else rows.vectors[:0], rows.bias[: len(words) * there], spoken, words)


def _ids(recogniser: Recogniser, units: str, line: str) -> List[int]:
    """Ids of units between blanks."""
    known = {unit: n for n, unit in enumerate(recogniser.units) if n}
    wrong = [unit for unit in units.split() if unit not in known]
    if wrong or not units:
        some = " ".join(list(known)[:50])
        raise UserError(
            f"'{line.strip()}': " + (f"unknown units {' '.join(wrong)}" if wrong else "no units") + f"; there are {some}"
        )
    return [known[unit] for unit in units.split()]


def from_recordings(
    recogniser: Recogniser, name: str, recordings: Sequence[Sound], table: Rows, written: Optional[Keyword] = None
) -> Keyword:
    """A keyword from recordings of it alone.

    Args:
      recordings: three or so, of several speakers if possible.
      table: `recogniser.rows()`.
      written: the same keyword from text, if it is written in the model's language: its vectors and its pronunciations are kept,
        and those of the recordings' own units are not needed.
    Raises:
      UserError: no recording, or one without speech.
    """
    if not recordings:
        raise UserError(f"the keyword '{name}' has no recording")
    found = recogniser.evidence(recordings)
    silent = [n for n, one in enumerate(found) if not len(one.subword) or not greedy(one.subword)]
    if silent:
        raise UserError(f"the keyword '{name}': no sound is recognised in recording {silent[0] + 1}; record it again")
    return of_evidence(name, found, table, written)


def of_evidence(name: str, found: Sequence[Evidence], table: Rows, written: Optional[Keyword] = None) -> Keyword:
    """As `from_recordings`, of what the network says of them."""
    vector = mean_vector(found, table)
    if written is not None:
        return replace(written, recordings=len(found), heard=vector)
    candidates = list({tuple(greedy(one.subword)): None for one in found})
    spoken = [list(consensus([list(units) for units in candidates], found))]
    none = np.zeros((0, table.vectors.shape[1]), np.float32)
    return Keyword(name, none, np.zeros(0, np.float32), spoken, [], len(found), vector)


def mean_vector(found: Sequence[Evidence], table: Rows) -> Optional[np.ndarray]:
    """The mean of the word head's frames, each weighted by 1 - p(blank): (dim,), unit length; None without a word head."""
    total = np.zeros(table.vectors.shape[1], np.float32)
    for one in found:
        if len(one.frames):
            speech = 1 - np.exp(one.blank - normaliser(one.frames, one.blank, table))
            total += speech @ (one.frames / np.linalg.norm(one.frames, axis=1, keepdims=True))
    length = float(np.linalg.norm(total))
    return total / length if length else None


def greedy(subword: np.ndarray) -> List[int]:
    """The best unit of each frame, (T, V), without repetitions and blanks."""
    best = subword.argmax(1)
    return [int(unit) for n, unit in enumerate(best) if unit and (not n or unit != best[n - 1])]


def consensus(candidates: Sequence[List[int]], found: Sequence[Evidence]) -> List[int]:
    """The pronunciation that fits all recordings best: the highest sum of its best paths, divided by its units."""
    terms: Sounds = sounds([[units] for units in candidates])
    total = np.zeros(len(candidates))
    for one in found:
        total += advance(begin(terms), terms, relative(one.subword))[0].max(0)
    return candidates[int((total / terms.units).argmax())]
