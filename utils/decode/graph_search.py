"""The best path through a decoding graph, in NumPy: Viterbi search with a beam, vectorised over the arcs of a frame.

The graphs are those that k2 compiled in stage 2. They have no epsilons, so each arc but a final one takes one frame.
"""

from dataclasses import dataclass
from typing import List, Mapping, Optional, Tuple

import numpy as np


@dataclass(frozen=True)
class Graph:
    """A graph with S states and A arcs, in the order of the states that they leave. The first state is the start."""

    first: np.ndarray  # (S + 1,), where the arcs of each state begin
    target: np.ndarray  # (A,), states
    labels: np.ndarray  # (A,), symbols that the arcs take a frame of; 0 is the blank
    scores: np.ndarray  # (A,), of the LM, scaled; natural log
    words: np.ndarray  # word ids of all arcs
    places: np.ndarray  # (A + 1,), where those of each arc begin
    final: np.ndarray  # (S,), score of ending in a state; -inf where no path ends


@dataclass(frozen=True)
class Path:
    """A path with one arc a frame."""

    labels: np.ndarray  # (T,), symbols
    words: List[Tuple[int, int]]  # word ids, and the frame of the arc that has each
    score: float  # of network and LM, natural log


def read_graph(arrays: Mapping[str, np.ndarray], lm_scale: float) -> Graph:
    """A graph as stage 9 stores it.

    Args:
      arrays: of `utils.lang.graphs.fsa_arrays`: k2's arcs, each with its score in the bits of its last number, and attributes.
      lm_scale: factor of the LM's scores.
    """
    source, target, labels, bits = arrays["arcs"].T
    scores = np.ascontiguousarray(bits).view(np.float32) + (lm_scale - 1) * arrays["lm_scores"]
    states = int(max(source.max(initial=0), target.max(initial=0))) + 1
    words = arrays["aux_labels"] if "aux_labels" in arrays else arrays["aux_labels.values"]
    places = arrays.get("aux_labels.row_splits", np.arange(len(labels) + 1))
    final, ends = np.full(states, -np.inf), labels < 0
    np.maximum.at(final, source[ends], scores[ends])
    counts = np.diff(places)
    kept = np.repeat(~ends, counts)
    return Graph(
        np.searchsorted(source[~ends], np.arange(states + 1)),
        target[~ends].astype(np.int64),
        labels[~ends].astype(np.int64),
        scores[~ends].astype(np.float64),
        words[kept],
        np.concatenate(([0], np.cumsum(counts[~ends]))),
        final,
    )


def best_path(log_probs: np.ndarray, graph: Graph, beam: float, max_active: int) -> Optional[Path]:
    """The best path through the graph; None if all paths are lost, also with a beam four times as wide.

    Args:
      log_probs: (T, V), natural log.
      beam: paths that score so far below the best in a frame are dropped.
      max_active: most states that are kept in a frame.
    """
    for wider in (1, 2, 4):
        found = search(log_probs, graph, wider * beam, wider * max_active)
        if found is not None:
            return found
    return None


def search(log_probs: np.ndarray, graph: Graph, beam: float, max_active: int) -> Optional[Path]:
    """As `best_path`, with this beam alone."""
    found = Search(graph, beam, max_active)
    found.advance(log_probs)
    return found.ended()


class Search:
    """A search that frames are given to as they come."""

    def __init__(self, graph: Graph, beam: float, max_active: int) -> None:
        """Args: see `best_path`."""
        self._graph, self._beam, self._max_active = graph, beam, max_active
        self._states, self._totals = np.zeros(1, dtype=np.int64), np.zeros(1)  # of the paths that are kept, one a state
        self._best_of = np.empty(len(graph.final), dtype=np.int64)  # of each state, the newest best path into it
        self._steps: List[Tuple[np.ndarray, np.ndarray]] = []  # of each frame: for each path its last arc, and the path before it

    def advance(self, log_probs: np.ndarray) -> None:
        """Search (T, V) more frames. Where all paths are lost, none is found any more."""
        graph, states, totals = self._graph, self._states, self._totals
        for frame in log_probs:
            begins = graph.first[states]
            counts = graph.first[states + 1] - begins
            before = np.repeat(np.arange(len(states)), counts)
            arcs = np.arange(len(before)) + np.repeat(begins - np.cumsum(counts) + counts, counts)
            scores = totals[before] + graph.scores[arcs] + frame[graph.labels[arcs]]
            near = np.flatnonzero(scores > scores.max(initial=-np.inf) - self._beam)
            order = near[np.argsort(scores[near])]
            into = graph.target[arcs[order]]
            place = np.arange(len(order))
            self._best_of[into] = place  # the last one stays: the best
            order = order[self._best_of[into] == place][-self._max_active :]
            arcs, before = arcs[order], before[order]
            states, totals = graph.target[arcs], scores[order]
            self._steps.append((arcs, before))
        self._states, self._totals = states, totals

    def so_far(self) -> Optional[Path]:
        """The best path of the frames so far, wherever it is in the graph; None if all are lost."""
        return self._best(self._totals)

    def ended(self) -> Optional[Path]:
        """The best path that ends here; None if none does."""
        return self._best(self._totals + self._graph.final[self._states])

    def _best(self, totals: np.ndarray) -> Optional[Path]:
        if not len(totals) or not np.isfinite(totals.max()):
            return None
        place = int(totals.argmax())
        return _traced(self._steps, place, self._graph, float(totals[place]))


def _traced(steps: List[Tuple[np.ndarray, np.ndarray]], place: int, graph: Graph, score: float) -> Path:
    path = []
    for arcs, before in reversed(steps):
        path.append(int(arcs[place]))
        place = int(before[place])
    path.reverse()
    words = [(int(w), frame) for frame, arc in enumerate(path) for w in graph.words[graph.places[arc] : graph.places[arc + 1]]]
    return Path(graph.labels[np.array(path, dtype=np.int64)], [pair for pair in words if pair[0] > 0], score)
