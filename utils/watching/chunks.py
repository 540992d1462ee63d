"""Keywords in what the first pass of a causal model computes for the words anyway."""

from dataclasses import replace
from typing import List, Optional, Sequence, Tuple

import numpy as np

from utils.live.chunks import Chunked
from utils.live.first_pass import Open
from utils.live.segments import Segment
from utils.nn.streaming import ChunkOutput
from utils.spotting.spotter import Hit, Spotter, Spotting


def frame_seconds(first_pass: Chunked) -> Optional[Tuple[float, float]]:
    """Seconds of a frame of the sub-word head and of the word head; None for a network without a sub-word head."""
    network = first_pass.streaming.network
    silence = np.zeros((first_pass.frames, first_pass.streaming.features.stream().dim), np.float32)
    (output,), _ = network([silence], [network.start()])
    if output.subword is None:
        return None
    fine = first_pass.step / len(output.subword)
    return fine, fine if output.frames is None else first_pass.step / len(output.frames)


class Chunks:
    """The keywords of one stream, segment by segment."""

    def __init__(self, first_pass: Chunked, seconds: Tuple[float, float], spotter: Spotter, rate: int, seen: int = 0) -> None:
        """seconds: see `frame_seconds`; rate: Hz, of the stream; seen: outputs for the open segment that went by before."""
        self._first_pass, self._seconds, self._spotter, self._rate = first_pass, seconds, spotter, rate
        self._spotting = Spotting(spotter, *seconds)  # of the open segment
        self.seen = self._before = seen  # outputs for it

    def more(self, start: float, outputs: Sequence[ChunkOutput]) -> List[Hit]:
        """The hits that more outputs for the open segment complete. start: seconds, of the segment."""
        found: List[Hit] = []
        for one in outputs:
            assert one.subword is not None
            frames = np.zeros((0, 0), np.float32) if one.frames is None else one.frames
            found += self._spotting.accept(one.subword, frames, np.zeros(0, np.float32) if one.blank is None else one.blank)
        self.seen += len(outputs)
        return moved(found, start + self._before * self._first_pass.step)

    def end(self, segment: Segment, heard: Optional[Open]) -> List[Hit]:
        """The last hits of a segment. heard: what the first pass has of it."""
        whole = Open(self._rate, segment.samples) if heard is None else replace(heard, samples=segment.samples)
        found = self.more(segment.start, self._first_pass.rest(whole)[self.seen :])
        found += moved(self._spotting.finish(), segment.start + self._before * self._first_pass.step)
        self._spotting, self.seen, self._before = Spotting(self._spotter, *self._seconds), 0, 0
        return found


def moved(hits: Sequence[Hit], start: float) -> List[Hit]:
    """Hits of what begins at `start` seconds with times of the stream."""
    return [replace(hit, start=round(start + hit.start, 3), end=round(start + hit.end, 3)) for hit in hits]
