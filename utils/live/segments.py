"""Segments of a stream: where speech begins, and where a rule ends it. It holds the open segment and a little before it."""

from dataclasses import dataclass
from typing import List, Optional

import numpy as np

from utils.audio.speech import FRAME, RATE, SpeechProbability
from utils.live.settings import Rule, Settings

SECONDS = FRAME / RATE  # of a frame
SLACK = 1e-6  # seconds: sums of frames are not exact
WEAK = 5  # frames in whose middle a segment that is too long is cut: those with the least speech of its second half


@dataclass(frozen=True)
class Segment:
    """A finished segment."""

    number: int  # in its stream, from 0
    start: float  # seconds from the beginning of the stream
    samples: np.ndarray  # (T,) float32


class Segments:
    """The segments of one stream. What it does depends on the samples alone, not on how they are cut into chunks."""

    def __init__(self, rate: int, settings: Settings) -> None:
        """rate: Hz, of the samples."""
        self.rate, self.settings = rate, settings
        self.number = 0  # of the open segment, or the next
        self.start: Optional[float] = None  # seconds; None while none is open
        self.last = 0.0  # where its speech ended so far
        self.words: Optional[bool] = None  # whether there are words in it up to `last`; None: not known
        self._probability = SpeechProbability(rate)
        self._held: List[np.ndarray] = []
        self._first = self._end = 0  # indices of the first sample held, and after the last
        self._found: List[float] = []  # probabilities of frames, from frame `_frame` on
        self._frame = self._next = 0  # `_next`: the frame that comes next
        self._past = 0.0  # where the segment before ended

    @property
    def heard(self) -> float:
        """Seconds of the stream so far."""
        return self._end / self.rate

    def push(self, samples: np.ndarray) -> None:
        """Take (T,) more samples."""
        if len(samples):
            self._held.append(samples)
            self._end += len(samples)
            self._found += self._probability(samples).tolist()

    def advance(self) -> Optional[Segment]:
        """The next segment that ends; None where more samples are needed, or `asks`."""
        while self.pending:
            now = self._next * SECONDS
            probability = self._found[self._next - self._frame]
            if self.start is None:
                if probability >= self.settings.speech:
                    self._open(max(now - self.settings.before, self._past), now + SECONDS)
                else:
                    self._drop(now - self.settings.before)
            elif probability >= (self.settings.no_speech if self.last >= now else self.settings.speech):
                if now + SECONDS > self.last:
                    self.last, self.words = now + SECONDS, None
            if self.start is not None:
                ended = self._ended(now + SECONDS)
                if self.asks:
                    return None
                if ended is not None:
                    self._next += 1
                    return ended
            self._next += 1
        return None

    @property
    def past(self) -> float:
        """Seconds of the stream that `advance` came to."""
        return min(self._next * SECONDS, self.heard)

    @property
    def pending(self) -> bool:
        """Whether there are frames that `advance` did not come to."""
        return self._next < self._frame + len(self._found)

    @property
    def asks(self) -> bool:
        """Whether `words` must be set before it goes on: a rule depends on it."""
        if self.start is None or self.words is not None or not self.pending:
            return False
        now = (self._next + 1) * SECONDS
        return any(rule.words and self._holds(rule, now) for rule in self.settings.rules)

    @property
    def pauses(self) -> bool:
        """Whether nobody spoke for so long that the segment may end with `so_far`."""
        return self.start is not None and (self.asks or self._next * SECONDS - self.last >= self.settings.ahead - SLACK)

    def so_far(self) -> Segment:
        """The open segment as it is if nobody says more."""
        return self._segment(min(self.last + self.settings.after, self.heard))

    def finish(self) -> Optional[Segment]:
        """The open segment, at the end of the stream."""
        return None if self.start is None else self._cut(min(self.last + self.settings.after, self.heard))

    def until(self, after: float) -> float:
        """Seconds of the open segment so far, with at most so many after its speech; 0 without one."""
        return 0.0 if self.start is None else min(self.last + after, self._next * SECONDS, self.heard) - self.start

    def samples(self, after: float) -> np.ndarray:
        """(T,) of the open segment so far, as `until` has it."""
        assert self.start is not None  # a segment is open
        return self._part(self.start, self.start + self.until(after))

    def _open(self, start: float, last: float) -> None:
        self.start, self.last, self.words = start, last, None

    def _holds(self, rule: Rule, now: float) -> bool:
        assert self.start is not None
        return now - self.last >= rule.silence - SLACK and now - self.start >= rule.length - SLACK

    def _ended(self, now: float) -> Optional[Segment]:
        """The segment, if a rule ends it; a rule without silence cuts where speech is weakest, and the next one begins there."""
        for rule in self.settings.rules:
            if not self._holds(rule, now) or (rule.words and not self.words):
                continue
            if rule.silence or now - self.last >= self.settings.after:
                return self._cut(self.last + self.settings.after)
            assert self.start is not None
            edge, last = self._weakest((self.start + now) / 2, now), self.last
            found = self._cut(edge)
            self._open(edge, max(last, edge))
            self._drop(edge - self.settings.before)
            return found
        return None

    def _cut(self, end: float) -> Segment:
        found = self._segment(end)
        self.number, self.start, self._past = self.number + 1, None, found.start + len(found.samples) / self.rate
        return found

    def _segment(self, end: float) -> Segment:
        assert self.start is not None
        return Segment(self.number, round(self.start * self.rate) / self.rate, self._part(self.start, end))

    def _part(self, begin: float, end: float) -> np.ndarray:
        if len(self._held) != 1:
            self._held = [np.concatenate(self._held)]
        first, last = round(begin * self.rate) - self._first, min(round(end * self.rate), self._end) - self._first
        return self._held[0][first:last].copy()

    def _weakest(self, begin: float, end: float) -> float:
        """Seconds, between two others, of the middle of the frames with the least speech."""
        first = int(begin / SECONDS)
        frames = np.asarray(self._found[first - self._frame : round(end / SECONDS) - self._frame])
        return (first + WEAK / 2 + int(np.argmin(np.convolve(frames, np.ones(WEAK), "valid")))) * SECONDS

    def _drop(self, before: float) -> None:
        """Forget samples and probabilities before a time in seconds, in large steps."""
        keep = int(max(before - SECONDS, 0.0) * self.rate)
        if keep - self._first < self.rate:
            return
        self._held = [np.concatenate(self._held)[keep - self._first :].copy()]
        self._first = keep
        frame = max(min(self._next, keep * RATE // self.rate // FRAME - 1), self._frame)
        self._found, self._frame = self._found[frame - self._frame :], frame
