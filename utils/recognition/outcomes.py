"""What recognising a file found."""

from dataclasses import dataclass, field, replace
from typing import List, Optional, Tuple

from utils.bundle.transcript import Transcript, Word


@dataclass(frozen=True)
class Segment:
    """A part of a recording that was recognised by itself: all of a short one, or between two pauses of a long one."""

    start: float  # seconds
    transcript: Transcript  # its times count from `start`
    channel: Optional[int] = None  # from 0; None where the channels were mixed, or there is one

    @property
    def words(self) -> List[Word]:
        """Its words, with times from the beginning of the recording."""
        return [replace(word, start=self.start + word.start, end=self.start + word.end) for word in self.transcript.words]

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.transcript.seconds


@dataclass(frozen=True)
class Outcome:
    """A recognised file."""

    name: str  # for people
    id: str  # in tables of other programs
    language: str
    seconds: float  # of audio
    segments: List[Segment] = field(default_factory=list)  # by start, then channel
    remarks: List[str] = field(default_factory=list)  # what is odd about the file
    uncertain: float = 0.0  # words with less confidence are marked

    def marked(self, word: Word) -> bool:
        """Whether a word's confidence is below the threshold."""
        return word.confidence is not None and word.confidence < self.uncertain

    def shown(self, word: Word) -> str:
        """A word as texts have it: [word?] where it is marked."""
        return f"[{word.text}?]" if self.marked(word) else word.text

    def by_channel(self) -> List[Tuple[Optional[int], List[Word]]]:
        """The words of each channel, by time."""
        channels = sorted({segment.channel for segment in self.segments}, key=lambda channel: channel or 0)
        return [(one, [w for segment in self.segments if segment.channel == one for w in segment.words]) for one in channels]
