"""One stream: samples come in from any thread, events go out in order."""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Callable, Deque, List, Optional, Sequence, Union

import numpy as np

from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.live.events import Ended, Event, Failed, Final, Partial
from utils.live.first_pass import FirstPass, Open
from utils.live.prefix import Prefix
from utils.live.segments import SECONDS, Segment, Segments
from utils.live.settings import Settings
from utils.live.watch import Watch

log = logging.getLogger("nuptse.live")


@dataclass(eq=False)
class Ahead:
    """A segment to be recognised by the whole chain, perhaps before it is certain that it ends there."""

    stream: "Stream"
    segment: Segment
    last: float  # where its speech ended, as in Segments
    since: float = field(default_factory=time.monotonic)  # seconds, when it was asked for
    found: Union[Transcript, str, None] = None  # its words, or why there are none; None: not recognised yet
    ended: bool = False  # whether the segment did end there
    wanted: bool = True  # False once speech went on


class Stream:
    """What a speaker says. `Live.stream` makes it.

    Events come in order: all of a segment before those of the next, each segment's `Final` (or `Failed`) after its partials, and
    last `Ended`.
    """

    def __init__(self, rate: int, settings: Settings, on_event: Callable[[Event], None], ready: Callable[[], None]) -> None:
        """Args: on_event: is told the events, from another thread, and must not block; ready: is told that there is work."""
        if not (isinstance(rate, (int, np.integer)) and rate > 0):
            raise UserError(f"the sampling rate is {rate!r}, and must be a whole number of Hz above 0")
        self.rate, self.settings, self.segments = int(rate), settings, Segments(int(rate), settings)
        self.open: Optional[Open] = None  # what the first pass has of the open segment
        self.finished = self.cancelled = False  # by the client
        self.over = False  # nothing follows
        self.watch: Optional[Watch] = None  # set before the first samples
        self._on_event, self._ready, self._lock = on_event, ready, threading.RLock()
        self._samples: Deque[np.ndarray] = deque()
        self._given = 0  # samples that came
        self._prefix = Prefix()
        self._ahead: Optional[Ahead] = None  # of the open segment, while nobody speaks
        self._owed = 0  # finals that segments which ended still wait for
        self._held: List[Event] = []  # events that must wait for these

    def accept(self, samples: np.ndarray) -> None:
        """Take (T,) float32 samples from -1 to 1, any number; they are copied, and this never waits.

        Raises:
          UserError: samples of another form, or that are not numbers; a stream that was finished.
        """
        samples = np.asarray(samples)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise UserError(f"samples of a stream are (T,) float32 from -1 to 1, not {samples.dtype} of shape {samples.shape}")
        if not np.isfinite(samples).all():
            raise UserError("some samples are not numbers (NaN or infinite)")
        with self._lock:
            if self.finished:
                raise UserError("this stream was finished, and takes no more samples; open another")
            self._samples.append(samples.astype(np.float32))
            self._given += len(samples)
        self._ready()

    def finish(self) -> None:
        """No samples follow: the last final comes, then Ended."""
        with self._lock:
            self.finished = True
        self._ready()

    def cancel(self) -> None:
        """Nobody listens any more: no event follows."""
        with self._lock:
            self.finished = self.cancelled = self.over = True
            self._samples.clear()
            self._held.clear()
        self._ready()

    @property
    def backlog(self) -> float:
        """Seconds that came and were not yet processed, but for a frame of voice activity."""
        watched = 0.0 if self.watch is None else self.watch.backlog
        return max(watched, self._given / self.rate - self.segments.past - SECONDS)

    @property
    def waiting(self) -> bool:
        """Whether there is something to do for the worker."""
        return bool(self._samples) or self.segments.pending or (self.finished and not self.over and not self._owed)

    def take(self) -> bool:
        """Move the samples that came to the segments; whether there were any."""
        with self._lock:
            chunks, count = list(self._samples), sum(map(len, self._samples))
            self._samples.clear()
        if count:
            samples = np.concatenate(chunks)
            self.segments.push(samples)
            if self.watch is not None:
                self.watch.accept(samples)
        return bool(count)

    def due(self, first_pass: FirstPass) -> bool:
        """Whether the first pass should see the open segment."""
        if self.segments.start is None:
            return False
        heard, seen = (0.0, 0.0) if self.open is None else (self.open.heard, len(self.open.samples) / self.rate)
        until = self.segments.until(self._after(first_pass))
        return until - seen > SECONDS / 2 and first_pass.due(heard, until)  # the first: it gets nothing twice

    def opened(self, first_pass: FirstPass) -> Open:
        """The open segment for the first pass."""
        samples = self.segments.samples(self._after(first_pass))
        if self.open is None:
            self.open = Open(self.rate, samples)
        else:
            self.open.samples = samples
        return self.open

    def _after(self, first_pass: FirstPass) -> float:
        return first_pass.after + (0.0 if self.watch is None else self.watch.after)

    def found(self, found: Sequence[Word]) -> None:
        """Take the words that the first pass found in the open segment."""
        assert self.segments.start is not None and self.open is not None
        words, stable = self._prefix.update(found)
        start = self.segments.start
        if self.watch is not None:
            self.watch.heard(start, self.open)
        if words:
            self.emit(
                Partial(self.segments.number, round(start, 3), _moved(words, start), stable, round(start + self.open.heard, 3))
            )

    def paused(self) -> Optional[Ahead]:
        """What is to be recognised ahead, since nobody speaks; None without a pause, or where it is not new.

        Where a rule asks whether the segment has words, it gets the answer once that is recognised.
        """
        ahead, segments = self._ahead, self.segments
        if ahead is not None and (not segments.pauses or ahead.last != segments.last):  # speech went on
            ahead.wanted = False
            ahead = self._ahead = None
        if ahead is None and segments.pauses:
            self._ahead = Ahead(self, segments.so_far(), segments.last)
            return self._ahead
        if ahead is not None and ahead.found is not None:
            segments.words = isinstance(ahead.found, str) or bool(ahead.found.words)
        return None

    def closes(self, ended: Segment) -> Optional[Ahead]:
        """A segment ended: its final is owed before anything of the next. Returns what is to be recognised, if that is new."""
        if self.watch is not None:
            self.watch.closed(ended, self.open)
        with self._lock:
            self._owed += 1
            self._held.clear()  # partials of this segment
            ahead, self._ahead, self.open, self._prefix = self._ahead, None, None, Prefix()
            if ahead is not None and len(ahead.segment.samples) == len(ended.samples):
                ahead.ended = True
                if ahead.found is not None:
                    self._pay(ahead)
                return None
            if ahead is not None:
                ahead.wanted = False
            return Ahead(self, ended, self.segments.last, ended=True)

    def recognised(self, ahead: Ahead, found: Union[Transcript, str]) -> None:
        """Take the words of a segment, or why there are none."""
        with self._lock:
            ahead.found = found
            if ahead.ended:
                self._pay(ahead)

    def end(self) -> None:
        """Say Ended, if all is done."""
        with self._lock:
            watched = self.watch is None or self._owed or self.watch.finish()
            if self.finished and not self._owed and not self.over and watched:
                self.emit(Ended(round(self._given / self.rate, 6)))
                self.over = True

    def watched(self) -> None:
        """All was told that `watch` had to tell."""
        self._ready()

    def fail(self, message: str) -> None:
        """The whole stream is lost."""
        with self._lock:
            if not self.over:
                self._held.clear()
                self._owed = 0
                self.emit(Failed(message))
                self.finished = self.over = True
                self._samples.clear()

    def tell(self, event: Event) -> None:
        """Tell an event of a watch at once, whatever waits for finals."""
        with self._lock:
            if not self.over:
                self._tell(event)

    def emit(self, event: Event) -> None:
        """Tell an event, or keep it until the finals before it came; of partials of one segment only the newest waits."""
        with self._lock:
            if self.over:
                return
            if self._owed:
                self._held = [event]
                return
            self._tell(event)

    def _pay(self, ahead: Ahead) -> None:
        """Tell the final of a segment that ended, or why there is none, then what waits for it."""
        if self.over:
            return
        self._owed -= 1
        self._tell(self._final(ahead))
        if self.watch is not None and not self.over:
            self.watch.final(ahead.segment, ahead.found or "")
        if not self._owed:
            held, self._held = self._held, []
            for one in held:
                self._tell(one)

    def _final(self, ahead: Ahead) -> Event:
        segment, found = ahead.segment, ahead.found
        if not isinstance(found, Transcript):
            return Failed(str(found), segment.number)
        end = segment.start + len(segment.samples) / self.rate
        words = replace(found, words=_moved(found.words, segment.start))
        return Final(segment.number, round(segment.start, 3), round(end, 3), words)

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # what listens must not stop the other streams
            log.exception("a listener failed at %s; its stream ends", type(event).__name__)
            self.cancel()


def _moved(words: Sequence[Word], start: float) -> List[Word]:
    """Words of a segment with times in the stream."""
    return [replace(word, start=round(start + word.start, 3), end=round(start + word.end, 3)) for word in words]
