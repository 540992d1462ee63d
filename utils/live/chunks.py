"""The first pass of a causal model: each chunk goes through the network once, and the search grows with it."""

from dataclasses import dataclass, field
from typing import List, Sequence

import numpy as np

from utils.audio.resampling import Resampling
from utils.bundle.streaming import SearchGraph, Streaming
from utils.bundle.transcript import Word
from utils.decode.graph_search import Search
from utils.features.native import FeatureStream
from utils.live.first_pass import Open
from utils.nn.streaming import Caches, ChunkOutput


@dataclass
class State:
    """Of one open segment."""

    resampling: Resampling
    features: FeatureStream
    caches: Caches
    graph: SearchGraph
    search: Search
    waiting: np.ndarray  # (T, C), features that do not fill a chunk
    given: int = 0  # samples that are in them
    outputs: List[ChunkOutput] = field(default_factory=list)  # for a search anew when words were added
    log_probs: List[np.ndarray] = field(default_factory=list)


class Chunked:
    """As `utils.live.first_pass.FirstPass`: all chunks that are ready share network calls."""

    def __init__(self, streaming: Streaming, chunk: float) -> None:
        """chunk: seconds."""
        self.streaming = streaming
        shift = streaming.features.shift
        self.frames = streaming.network.chunk_frames(chunk, shift)
        self.step = self.frames * shift
        self._window = streaming.features.window / 2  # seconds that a frame reads after its middle
        self.after = self.step + self._window  # so that the end of speech is in a chunk

    def due(self, heard: float, until: float) -> bool:
        """As FirstPass says: when the next chunk is complete."""
        return until - heard >= self.step + self._window

    def __call__(self, segments: Sequence[Open]) -> List[List[Word]]:
        """As FirstPass says."""
        return [self._words(state) for state in self.advance(segments)]

    def advance(self, segments: Sequence[Open]) -> List[State]:
        """The segments with the network's outputs for all chunks that are complete."""
        states = [self._fed(segment) for segment in segments]
        ready = states
        while ready := [state for state in ready if len(state.waiting) >= self.frames]:
            chunks = [state.waiting[: self.frames] for state in ready]
            outputs, caches = self.streaming.network(chunks, [state.caches for state in ready])
            for state, output, cache in zip(ready, outputs, caches):
                state.waiting, state.caches = state.waiting[self.frames :], cache
                state.outputs.append(output)
        for segment, state in zip(segments, states):
            segment.heard = len(state.outputs) * self.step
        return states

    def rest(self, segment: Open) -> List[ChunkOutput]:
        """All outputs for a segment that ended, with its last chunk, however short."""
        (state,) = self.advance([segment])
        more = state.features.accept(state.resampling(np.zeros(0, np.float32), last=True))
        state.waiting = np.concatenate((state.waiting, more, state.features.finish()))
        while len(state.waiting):
            (output,), (state.caches,) = self.streaming.network([state.waiting[: self.frames]], [state.caches])
            state.outputs.append(output)
            state.waiting = state.waiting[self.frames :]
        return state.outputs

    def _fed(self, segment: Open) -> State:
        """The state of a segment with the features of its new samples."""
        streaming = self.streaming
        state = segment.state
        if state is None:
            graph, features = streaming.graph(), streaming.features.stream()
            resampling = Resampling(segment.rate, streaming.features.rate)
            waiting = np.zeros((0, features.dim), np.float32)
            state = State(resampling, features, streaming.network.start(), graph, graph.search(), waiting)
            segment.state = state
        new = state.features.accept(state.resampling(segment.samples[state.given :]))
        state.given = len(segment.samples)
        state.waiting = np.concatenate((state.waiting, new))
        return state

    def _words(self, state: State) -> List[Word]:
        """The words of a segment, with the vocabulary of now."""
        graph = self.streaming.graph()
        if graph is not state.graph:  # words were added or removed
            state.graph, state.search, state.log_probs = graph, graph.search(), []
        for output in state.outputs[len(state.log_probs) :]:
            state.log_probs.append(graph.log_probs(output))
            graph.advance(state.search, state.log_probs[-1])
        path = state.search.so_far() if state.log_probs else None
        return [] if path is None else graph.words(path, np.concatenate(state.log_probs))
