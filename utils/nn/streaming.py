"""A causal network, chunk by chunk, for many streams at once; without torch, since the network may be in ONNX.

The streams of a call may be of any age, and their chunks of any length. What a stream needs of its past is in its caches, which
do not grow. Chunks of a constant length give what utils/nn/encoder.py gives for the whole utterance with chunks of this length.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

HEARD = "heard"  # the cache that says how many frames of the others are of the stream; the rest precede it
Caches = Dict[str, np.ndarray]  # of one stream


@dataclass(frozen=True)
class ChunkOutput:
    """What the network says of a chunk of one stream; fields as in utils.nn.model.Output, None for a head that is not there."""

    subword: Optional[np.ndarray]  # (T', units)
    frames: Optional[np.ndarray]  # (T2, dim)
    blank: Optional[np.ndarray]  # (T2,)


class Step(Protocol):
    """Inputs (x, lengths, heard, caches) -> outputs by name, see `StreamingModel` in utils/nn/streaming_model.py."""

    def __call__(self, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Run the network."""


class StreamingNetwork:
    """Runs many streams, in torch or in ONNX Runtime.

        network = torch_network(model)                    # or utils.bundle.streaming_onnx.open_network(files, threads)
        caches = network.start()                          # of one stream
        (output,), (caches,) = network([x], [caches])     # x: (T, feature_dim), from utils.features.native.FeatureStream

    Give every chunk `chunk_frames(seconds)` frames; the last of a stream may be shorter.
    """

    def __init__(self, step: Step, shapes: Dict[str, Tuple[int, ...]], stride: int) -> None:
        """
        Args:
          step: the network.
          shapes: of the caches of one stream.
          stride: feature frames in a frame of the coarse stream; all chunks but the last of a stream are multiples of it.
        """
        self.step, self.shapes, self.stride = step, shapes, stride

    def start(self) -> Caches:
        """Caches of a stream of which nothing was heard."""
        return {HEARD: np.zeros((), np.int64), **{name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}}

    def chunk_frames(self, seconds: float, frame_shift: float = 0.01) -> int:
        """Feature frames of a chunk of so many seconds, at least one frame of the coarse stream."""
        return self.stride * max(1, round(seconds / frame_shift / self.stride))

    def __call__(self, chunks: Sequence[np.ndarray], caches: Sequence[Caches]) -> Tuple[List[ChunkOutput], List[Caches]]:
        """The next chunk of several streams, in one call of the network.

        Args:
          chunks: (T, feature_dim) float32 of each, at least one frame; of any lengths.
          caches: of each stream, from `start` or the call before. They are not changed.
        """
        lengths = np.array([len(x) for x in chunks], np.int64)
        longest = -(-int(lengths.max()) // self.stride) * self.stride
        x = np.zeros((len(chunks), longest, chunks[0].shape[1]), np.float32)
        for row, chunk in zip(x, chunks):
            row[: len(chunk)] = chunk
        stacked = {name: np.stack([one[name] for one in caches]) for name in (HEARD, *self.shapes)}
        made = self.step({"x": x, "lengths": lengths, **stacked})
        frames = {"subword": made["subword_lengths"], "frames": made["word_lengths"], "blank": made["word_lengths"]}

        def of(n: int, name: str) -> Optional[np.ndarray]:
            return made[name][n, : frames[name][n]] if name in made else None

        outputs = [ChunkOutput(*(of(n, name) for name in frames)) for n in range(len(chunks))]
        return outputs, [{name: made[f"new_{name}"][n].copy() for name in stacked} for n in range(len(chunks))]
