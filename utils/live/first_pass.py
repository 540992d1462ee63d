"""First passes: what finds the words of open segments while they grow."""

from dataclasses import dataclass
from typing import Any, List, Protocol, Sequence

import numpy as np

from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Word
from utils.live.settings import Settings


@dataclass
class Open:
    """An open segment. A first pass may keep what it likes in `state`, and finds it again at the next call."""

    rate: int  # Hz
    samples: np.ndarray  # (T,) float32, all of it so far
    heard: float = 0.0  # seconds of it that the words stand for; the first pass says so
    state: Any = None


class FirstPass(Protocol):
    """Finds words in segments that are still growing."""

    after: float  # seconds after the end of speech so far that it wants to hear

    def due(self, heard: float, until: float) -> bool:
        """Whether it should be called for a segment of `until` seconds, of which it heard so many."""

    def __call__(self, segments: Sequence[Open]) -> List[List[Word]]:
        """The words of each segment so far, with times from its beginning; one network call for all."""


class Anew:
    """Encodes the segment so far anew: for any bundle, since its network may look ahead."""

    def __init__(self, recogniser: Recogniser, settings: Settings) -> None:
        self.recogniser, self.settings, self.after = recogniser, settings, settings.after

    def due(self, heard: float, until: float) -> bool:
        """As FirstPass says."""
        return until - heard >= max(self.settings.step, self.settings.share * until)

    def __call__(self, segments: Sequence[Open]) -> List[List[Word]]:
        """As FirstPass says."""
        for one in segments:
            one.heard = len(one.samples) / one.rate
        found = self.recogniser.first_pass([(one.samples, one.rate) for one in segments])
        return [transcript.words for transcript in found]
