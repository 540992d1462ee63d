"""First passes: what finds the words of open segments while they grow."""

from dataclasses import dataclass
from typing import Any, List, Protocol, Sequence

import numpy as np

from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Word


@dataclass
class Open:
    """An open segment. A first pass may keep what it likes in `state`, and finds it again at the next call."""

    rate: int  # Hz
    samples: np.ndarray  # (T,) float32, all of it so far
    before: int = 0  # so many of them were there at the call before
    state: Any = None


class FirstPass(Protocol):
    """Finds words in segments that are still growing."""

    step: float  # seconds of new audio that it waits for

    def __call__(self, segments: Sequence[Open]) -> List[List[Word]]:
        """The words of each segment so far, with times from its beginning; one network call for all."""


class Anew:
    """Encodes the segment so far anew: for any bundle, since its network may look ahead."""

    def __init__(self, recogniser: Recogniser, step: float) -> None:
        self.recogniser, self.step = recogniser, step

    def __call__(self, segments: Sequence[Open]) -> List[List[Word]]:
        """As FirstPass says."""
        found = self.recogniser.first_pass([(one.samples, one.rate) for one in segments])
        return [transcript.words for transcript in found]
