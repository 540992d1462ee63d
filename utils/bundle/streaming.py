"""What streams need of an engine whose network is causal: the network with caches, features, and a graph to search."""

from dataclasses import dataclass
from typing import Callable, List, Optional

import numpy as np

from utils.bundle.best_path import placed
from utils.bundle.transcript import Word
from utils.decode.graph_search import Graph, Path, Search
from utils.decode.path_words import of_units, of_words
from utils.features.native import NativeFeatures
from utils.nn.streaming import ChunkOutput, StreamingNetwork

BEAM, MAX_ACTIVE = 14.0, 2000  # of partials: finals are searched again, with the widths that were set for files


@dataclass(frozen=True, eq=False)
class SearchGraph:
    """A graph of one vocabulary, and the head that it is searched with."""

    graph: Graph
    log_probs: Callable[[ChunkOutput], np.ndarray]  # (T, V), natural log, without a penalty of the blank
    blank_penalty: float
    name: Callable[[int], str]  # word id -> word
    spelled: Optional[Callable[[int], List[List[int]]]]  # word id -> its pronunciations; None for the graph of the word head
    frame_seconds: float

    def search(self) -> Search:
        """A search from the beginning."""
        return Search(self.graph, BEAM, MAX_ACTIVE)

    def advance(self, search: Search, log_probs: np.ndarray) -> None:
        """Search (T, V) more frames."""
        weighed = log_probs.copy()
        weighed[:, 0] -= self.blank_penalty
        search.advance(weighed)

    def words(self, path: Path, log_probs: np.ndarray) -> List[Word]:
        """The words of a path through all frames of a segment. log_probs: (T, V)."""
        if self.spelled is None:
            found = of_words(path, log_probs)
        else:
            found = of_units(path, log_probs, self.spelled, ended=False)
        texts, frames = [self.name(word) for word in found.words], len(log_probs)
        return placed(found, texts, frames, self.frame_seconds, frames * self.frame_seconds)


@dataclass(frozen=True)
class Streaming:
    """A causal network and what is around it."""

    network: StreamingNetwork
    features: NativeFeatures
    graph: Callable[[], SearchGraph]  # of the words of now: another object once they changed
