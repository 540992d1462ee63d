"""What a recogniser says of a recording. Only the standard library: programs that show transcripts need nothing else."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from utils.text.letters import joined


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
