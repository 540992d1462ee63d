"""Recordings of a term as a query, and the quick look for them in an index.

A vector that comes from speech is compared with the frames in which words end, by cosine, both less the mean of such frames: all
of speech lies to one side of the space, and what tells words apart is left. The vocabulary does not count here, as it does for
the vector of a spelling. Frames of the blank are left out, and the others keep the few directions in which they differ.
"""

from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Evidence, Rows
from utils.core.errors import UserError
from utils.search.scoring import normaliser

SPOKEN = 1e-3  # least probability of a frame that a word ends there
SURE = 0.5  # of frames whose mean and directions count
DIRECTIONS = 32
ENOUGH = 20000  # frames for mean and directions
AT_ONCE = 1 << 14  # frames


@dataclass(frozen=True)
class Example:
    """A recording of a term: alone, or as a part of a longer one, which says more, because the network sees its surroundings."""

    samples: np.ndarray  # (T,) float32
    rate: int  # Hz
    span: Optional[Tuple[float, float]] = None  # seconds: where it is said; None for all


def heard(examples: Mapping[str, Example], evidence: Sequence[Evidence], table: Rows) -> Tuple[np.ndarray, List[List[int]]]:
    """The vector of recordings, (dim,), unit length, and the best units of each.

    A recording's vector is the mean of its frames, each weighted by the probability that a word ends there; the result is the
    mean of theirs.

    Args:
      examples: by name; evidence: of each; table: the vocabulary.
    Raises:
      UserError: nobody speaks in a recording.
    """
    vectors, spoken = [], []
    for (name, example), one in zip(examples.items(), evidence):
        start, end = example.span or (0.0, one.seconds)
        own = slice(int(start / one.word_seconds), int(end / one.word_seconds) + 2)  # a word's frame lies near its end
        frames, blank = one.frames[own], one.blank[own]
        subword = one.subword[int(start / one.subword_seconds) : int(np.ceil(end / one.subword_seconds))]
        best = subword.argmax(1) if len(subword) else np.zeros(0, np.int64)
        units = [int(unit) for n, unit in enumerate(best) if unit and (n == 0 or unit != best[n - 1])]
        if not units or not len(frames):
            raise UserError(f"nobody speaks in {name}; give recordings of the word")
        words = normaliser(frames, np.full(len(frames), -np.inf, np.float32), table)
        share = words - np.logaddexp(words, blank)  # log; it may be far below 0 where the network hears no whole word
        vectors.append(unit_length(np.exp(share - share.max()) @ frames))
        spoken.append(units)
    return unit_length(np.mean(vectors, 0)), spoken


@dataclass(frozen=True)
class Spoken:
    """Frames of an index in which words may end: of unit length, less their mean, of unit length again, in DIRECTIONS."""

    frames: np.ndarray  # (T, directions) float32
    windows: np.ndarray  # (W,) that have such frames, rising
    edges: np.ndarray  # (W,) where the frames of each begin
    mean: np.ndarray  # (dim,)
    axes: np.ndarray  # (dim, directions)

    def look(self, vectors: np.ndarray) -> np.ndarray:
        """The highest cosine in each window, (W, Q), with vectors of recordings, (Q, dim), of unit length."""
        if not len(self.windows):
            return np.zeros((0, len(vectors)), np.float32)
        away = unit_length(vectors - self.mean) @ self.axes
        return np.maximum.reduceat(self.frames @ away.T, self.edges, axis=0)


def spoken(frames: np.ndarray, probability: np.ndarray, window: np.ndarray) -> Spoken:
    """What the quick look for recordings needs.

    Args:
      frames: (T, dim) int8, of any scale.
      probability: (T,) that a word ends there; window: (T,) in which each is, rising.
    """
    own = np.flatnonzero(probability >= SPOKEN)
    sure = np.flatnonzero(probability >= SURE)
    some = sure if len(sure) else own
    some = some[:: 1 + len(some) // ENOUGH]
    known = unit_length(frames[some].astype(np.float32))
    mean = known.mean(0) if len(known) else np.zeros(frames.shape[1], np.float32)
    axes = np.linalg.eigh((known - mean).T @ (known - mean))[1][:, ::-1][:, :DIRECTIONS].astype(np.float32)
    parts = [np.zeros((0, axes.shape[1]), np.float32)]
    for at in range(0, len(own), AT_ONCE):
        part = unit_length(frames[own[at : at + AT_ONCE]].astype(np.float32)) - mean
        parts.append(unit_length(part) @ axes)
    windows, edges = np.unique(window[own], return_index=True)
    return Spoken(np.concatenate(parts), windows, edges, mean, axes)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """(..., dim) float32."""
    return (vectors / np.maximum(1e-9, np.linalg.norm(vectors, axis=-1, keepdims=True))).astype(np.float32)
