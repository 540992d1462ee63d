"""What a stream says while it listens. Only the standard library, so that clients can read it without the recogniser."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Union

from utils.bundle.transcript import Transcript, Word


@dataclass(frozen=True)
class Partial:
    """The words of an open segment so far. Times are seconds from the beginning of the stream."""

    segment: int  # number of the segment in its stream, from 0
    start: float  # where the segment begins
    words: List[Word]
    stable: int  # so many words, from the first, stay as they are in all later partials of this segment
    heard: float  # the samples until here are in it


@dataclass(frozen=True)
class Final:
    """A finished segment. Times are seconds from the beginning of the stream."""

    segment: int
    start: float
    end: float
    transcript: Transcript  # its words have times in the stream, too


@dataclass(frozen=True)
class Failed:
    """A segment, or the whole stream, that could not be recognised; nothing follows of it."""

    message: str  # one sentence for the user
    segment: int = -1  # -1: the whole stream


@dataclass(frozen=True)
class Keyword:
    """A keyword was said. It comes as soon as it is known, before or after events of its segment."""

    text: str
    start: float
    end: float
    score: float  # natural log; see utils.spotting
    probability: float  # that it was said there


@dataclass(frozen=True)
class Command:
    """What a finished segment orders; it follows the segment's `Final`."""

    segment: int
    start: float  # of what was looked at
    end: float
    intent: Optional[str]  # None: not a command
    slots: Dict[str, Any]
    confidence: float  # probability that this is right
    text: str  # the sentence of the grammar that fits best
    wake: Optional[Keyword] = None  # the wake word that it follows


@dataclass(frozen=True)
class Ended:
    """The last event of a stream: all that was heard is recognised."""

    heard: float  # seconds, to a microsecond: no sample is that short


Event = Union[Partial, Final, Failed, Keyword, Command, Ended]
