"""What a recogniser says of a recording. Only the standard library: programs that show transcripts need nothing else."""

import math
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from utils.text.letters import joined


def to_milliseconds(start: float, end: float, length: float) -> Tuple[float, float]:
    """Start and end in seconds, to the millisecond; none is beyond a recording of that length."""
    last = math.floor(1000 * length + 1e-6) / 1000
    return min(round(start, 3), last), min(round(end, 3), last)


@dataclass(frozen=True)
class Word:
    """A recognised word."""

    text: str
    start: float  # seconds from the beginning of the recording
    end: float
    confidence: Optional[float] = None  # probability that it is right; None where the engine has none
    alternatives: List[Tuple[str, float]] = field(
        default_factory=list
    )  # other words at its place and their posteriors, best first


@dataclass(frozen=True)
class Hypothesis:
    """One reading of the whole recording."""

    text: str
    score: float  # with the tuned weights, natural log


@dataclass(frozen=True)
class Transcript:
    """The words of a recording."""

    words: List[Word]
    nbest: List[Hypothesis] = field(default_factory=list)  # best first; the first is `text`
    seconds: float = 0.0  # length of the recording

    @property
    def text(self) -> str:
        """The words as one text, without punctuation."""
        return joined([word.text for word in self.words])
