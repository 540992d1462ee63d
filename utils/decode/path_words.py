"""The words of a best path through a decoding graph, with their frames and confidences."""

from dataclasses import dataclass
from itertools import groupby
from typing import Callable, Dict, List, Sequence

import numpy as np

from utils.core.frames import Span
from utils.decode.graph_search import Path


@dataclass(frozen=True)
class Found:
    """The words of a recording on the frames of a head."""

    words: List[int]  # word ids
    peaks: List[Span]  # frames of each unit of the words, in order
    units: List[int]  # number of units of each word
    score: float  # natural log
    confidence: List[float]  # of each word: the mean over its units of the highest posterior in their frames


def of_units(path: Path, log_probs: np.ndarray, spelled: Callable[[int], Sequence[Sequence[int]]], ended: bool = True) -> Found:
    """The words of a path through the graph of the sub-word head.

    Args:
      log_probs: (T, units).
      spelled: word id -> its pronunciations.
      ended: False for a path that may stop within a word.
    """
    runs = [(label, len(list(run))) for label, run in groupby(path.labels.tolist())]
    edges = np.cumsum([0, *(length for _, length in runs)]).tolist()
    peaks = [(start, end) for (label, _), start, end in zip(runs, edges, edges[1:]) if label]
    words, labels = [word for word, _ in path.words], [label for label, _ in runs if label]
    units = (shared_out if ended else shared_so_far)(labels, [spelled(word) for word in words])
    words, peaks = words[: len(units)], peaks[: sum(units)]
    return Found(words, peaks, units, path.score, confidences(log_probs, path.labels, peaks, units))


def of_words(path: Path, log_probs: np.ndarray) -> Found:
    """The words of a path of the word head. log_probs: (T, 1 + words)."""
    frames, words, starts = len(log_probs), [word for word, _ in path.words], [frame for _, frame in path.words]
    changes = [*(np.flatnonzero(np.diff(path.labels)) + 1).tolist(), frames]
    ends = [min(next(c for c in changes if c > start), following) for start, following in zip(starts, [*starts[1:], frames])]
    peaks, units = list(zip(starts, ends)), [1] * len(words)
    return Found(words, peaks, units, path.score, confidences(log_probs, path.labels, peaks, units))


def shared_out(units: Sequence[int], spelled: Sequence[Sequence[Sequence[int]]]) -> List[int]:
    """How many of a path's units each of its words has. spelled: the pronunciations of each word."""
    reached: Dict[int, List[int]] = {0: []}
    for pronunciations in spelled:
        after: Dict[int, List[int]] = {}
        for place, counts in reached.items():
            for one in pronunciations:
                if list(units[place : place + len(one)]) == list(one):
                    after[place + len(one)] = [*counts, len(one)]
        reached = after
    return reached[len(units)]


def shared_so_far(units: Sequence[int], spelled: Sequence[Sequence[Sequence[int]]]) -> List[int]:
    """As `shared_out`, of a path that may stop within a word: the last word may lack units, and units of the next may follow.

    Words of which no unit was heard are left out.
    """
    reached: Dict[int, List[int]] = {0: []}
    for pronunciations in spelled:
        after: Dict[int, List[int]] = {}
        for place, counts in reached.items():
            heard = list(units[place:])
            for one in pronunciations:
                if heard[: len(one)] == list(one)[: len(heard)] and heard:
                    after[place + min(len(one), len(heard))] = [*counts, min(len(one), len(heard))]
        if not after:
            break
        reached = after
    return reached[max(reached)]


def confidences(log_probs: np.ndarray, labels: np.ndarray, peaks: Sequence[Span], units: Sequence[int]) -> List[float]:
    """The confidence of each word, see `Found`. log_probs: (T, V); labels: (T,), of the path."""
    highest = [float(np.exp(log_probs[np.arange(a, b), labels[a:b]].max())) for a, b in peaks]
    edges = np.cumsum([0, *units]).tolist()
    return [sum(highest[a:b]) / (b - a) for a, b in zip(edges, edges[1:])]
