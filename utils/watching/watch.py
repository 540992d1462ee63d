"""What follows one stream: keywords, commands, and its past, each where it was asked for."""

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, List, Optional, Sequence, Tuple, Union

import numpy as np

from utils.bundle.transcript import Transcript
from utils.live.chunks import Chunked
from utils.live.events import Command, Failed, Keyword
from utils.live.first_pass import Open
from utils.live.segments import Segment
from utils.live.stream import Stream
from utils.nn.streaming import ChunkOutput
from utils.search.contents import Indexed
from utils.spotting.listening import Listening
from utils.spotting.spotter import Hit, Spotter
from utils.watching.chunks import Chunks, moved
from utils.watching.doors import Past
from utils.watching.finals import Finals
from utils.watching.probability import probability

log = logging.getLogger("nuptse.watching")
FOLLOWS = 5.0  # seconds after a wake word within which a command must begin
ALONE = 0.3  # seconds: less than this after the wake word is its own end, and no command
PIECE = 2.0  # seconds of samples that are looked at before other streams have their turn


@dataclass(frozen=True)
class Asked:
    """What a client wants to know of its stream."""

    spotter: Optional[Spotter] = None
    wake: str = ""  # the keyword that commands must follow
    grammar: str = ""  # name of the grammar of commands
    minutes: float = 0.0  # of the past that can be searched

    @property
    def nothing(self) -> bool:
        """Whether nothing is wanted."""
        return self.spotter is None and not self.grammar and not self.minutes


@dataclass(frozen=True)
class Means:
    """What all streams of a `Live` are watched with."""

    finals: Finals
    second_look: bool  # whether a decoder judges hits
    frame_seconds: Optional[Tuple[float, float]]  # of a causal first pass with a sub-word head
    ready: Callable[[], None]  # is told that there is work


class StreamWatch:
    """A `utils.live.watch.Watch`. What it is told waits in a queue for the thread of `Watching`, which calls `work`."""

    def __init__(self, stream: Stream, asked: Asked, means: Means) -> None:
        self.stream, self.asked, self.after = stream, asked, 0.0
        self._means, self._jobs = means, deque()  # type: Means, Deque[Tuple[Callable[..., None], Tuple[Any, ...], float]]
        self._waiting = 0.0  # seconds of samples in the queue
        self._lock = threading.Lock()
        self._finishing = self._done = False
        self._seen = 0  # outputs for the open segment that are in the queue, or were
        self._chunks: Optional[Chunks] = None
        self._listening: Optional[Listening] = None
        self._since: Optional[float] = None  # seconds, from where on it listens
        self._wakes: List[Keyword] = []  # wake words that no command followed yet
        self._past: Deque[Past] = deque()
        self._look()

    @property
    def backlog(self) -> float:
        """As Watch says."""
        return self._waiting

    def accept(self, samples: np.ndarray) -> None:
        """As Watch says."""
        size, rate = round(PIECE * self.stream.rate), self.stream.rate
        start = self.stream.segments.heard - len(samples) / rate
        for first in range(0, len(samples) if self._listening else 0, size):
            part = samples[first : first + size]
            self._add(self._listen, start + first / rate, part, seconds=len(part) / rate)

    def heard(self, start: float, segment: Open) -> None:
        """As Watch says."""
        if self._chunks is not None:
            outputs = segment.state.outputs[self._seen :]
            self._seen += len(outputs)
            self._add(self._more, start, outputs)

    def closed(self, segment: Segment, heard: Optional[Open]) -> None:
        """As Watch says."""
        self._seen = 0
        if self._chunks is not None:
            self._add(self._end, segment, heard)

    def transcribe(self, samples: np.ndarray, rate: int) -> Transcript:
        """As Watch says."""
        finals = self._means.finals
        return finals.remembered(samples, rate) if self.asked.minutes else finals.transcribe(samples, rate)

    def final(self, segment: Segment, found: Union[Transcript, str]) -> None:
        """As Watch says."""
        if isinstance(found, Indexed) and found.window is not None:
            self._keep(Past(segment.number, segment.start, found.seconds, found.window))
        if self.asked.grammar and not isinstance(found, str):
            self._add(self._understand, segment)

    def finish(self) -> bool:
        """As Watch says."""
        if not self._finishing:
            self._finishing = True
            self._add(self._finish)
        return self._done

    def change(self, asked: Asked) -> None:
        """Want something else from now on."""
        self._add(self._change, asked)

    def past(self) -> List[Past]:
        """What is kept of the finished segments."""
        with self._lock:
            return list(self._past)

    def work(self) -> bool:
        """Do one thing that waits; whether there was one. In the thread of `Watching`."""
        with self._lock:
            if not self._jobs:
                return False
            job, given, seconds = self._jobs.popleft()
        if not self.stream.over:
            try:
                job(*given)
            except Exception as error:
                log.exception("a stream can't be watched")
                self.stream.fail(f"keywords and commands of this stream can't be found: {type(error).__name__}: {error}")
        with self._lock:
            self._waiting = max(0.0, self._waiting - seconds) if self._jobs else 0.0
        return True

    def _add(self, job: Callable[..., None], *given: Any, seconds: float = 0.0) -> None:
        with self._lock:
            self._jobs.append((job, given, seconds))
            self._waiting += seconds
        self._means.ready()

    def _look(self) -> None:
        """Look for the keywords that are wanted now: in the first pass of a causal model, or in the samples."""
        live, spotter = self._means.finals.live, self.asked.spotter
        seen = self._seen if self._chunks is None else self._chunks.seen
        self._chunks = self._listening = None
        if spotter is not None and isinstance(live.first_pass, Chunked):
            assert self._means.frame_seconds is not None
            self._chunks = Chunks(live.first_pass, self._means.frame_seconds, spotter, self.stream.rate, seen)
        elif spotter is not None:
            self._since = None
            self._listening = Listening(live.recogniser, spotter, self.stream.rate)
        self.after = 0.0 if self._chunks is None or spotter is None else spotter.settings.around

    def _change(self, asked: Asked) -> None:
        self.asked = asked
        self._look()

    def _listen(self, start: float, samples: np.ndarray) -> None:
        if self._listening is not None:
            if self._since is None:
                self._since = start
            self._tell(moved(self._listening.accept(samples), self._since))

    def _more(self, start: float, outputs: Sequence[ChunkOutput]) -> None:
        if self._chunks is not None:
            self._tell(self._chunks.more(start, outputs))

    def _end(self, segment: Segment, heard: Optional[Open]) -> None:
        if self._chunks is not None:
            self._tell(self._chunks.end(segment, heard))

    def _finish(self) -> None:
        if self._listening is not None:
            self._tell(moved(self._listening.finish(), self._since or 0.0))
        self._done = True
        self.stream.watched()

    def _tell(self, hits: Sequence[Hit]) -> None:
        spotter = self.asked.spotter
        assert spotter is not None
        units = {keyword.name: min(map(len, keyword.spoken)) for keyword in spotter.keywords} if hits else {}
        for hit in hits:
            sure = probability(hit, units[hit.keyword], self._means.second_look)
            event = Keyword(hit.keyword, hit.start, hit.end, hit.score, sure)
            if hit.keyword == self.asked.wake:
                self._wakes.append(event)
            self.stream.tell(event)

    def _understand(self, segment: Segment) -> None:
        """Say what a finished segment orders. With a wake word: of what follows it, within FOLLOWS seconds."""
        samples, rate, start, wake = segment.samples, self.stream.rate, segment.start, None
        end = start + len(samples) / rate
        if self.asked.wake:
            self._wakes = [one for one in self._wakes if one.end >= start - FOLLOWS]
            before = [one for one in self._wakes if one.end < end]
            if not before:
                return
            wake = before[-1]
            start = max(start, wake.end)
            if end - start < ALONE + self._means.finals.live.settings.after:
                return
            samples = samples[round((start - segment.start) * rate) :]
        try:
            answer = self._means.finals.understood(self.asked.grammar, samples, rate)
        except Exception as error:  # whatever it was, the words go on
            log.exception("a command failed")
            self.stream.tell(
                Failed(f"the command of this sentence is not known: {type(error).__name__}: {error}", segment.number)
            )
            return
        if answer.command is not None:
            self._wakes = [one for one in self._wakes if one.end >= end]
        intent, slots = (None, {}) if answer.command is None else (answer.command.intent, dict(answer.command.slots))
        about = (segment.number, round(start, 3), round(end, 3))
        self.stream.tell(Command(*about, intent, slots, answer.confidence, answer.text, wake))

    def _keep(self, one: Past) -> None:
        """Add a segment to the past, and drop what is too old."""
        with self._lock:
            self._past.append(one)
            while one.start + one.seconds - self._past[0].start > 60 * self.asked.minutes:
                self._past.popleft()
