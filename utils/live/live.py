"""Recognition while people speak: streams that share a recogniser."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Sequence, Set, Union

import numpy as np

from utils.bundle.manifest import Manifest
from utils.bundle.recogniser import Recogniser, Sound
from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.live.apart import Apart
from utils.live.chunks import Chunked
from utils.live.events import Event
from utils.live.first_pass import Anew, FirstPass
from utils.live.settings import Settings
from utils.live.stream import Ahead, Stream
from utils.live.watch import Watch

log = logging.getLogger("nuptse.live")
USUAL = Settings()
PATIENCE = 0.05  # seconds for which a second of a segment waits while shorter ones come: else one of 15 s holds up ten


class Live:
    """A recogniser for streams. `start` it, or call `step` until it has nothing to do."""

    def __init__(
        self, recogniser: Recogniser, second: Optional[Union[Recogniser, Apart]] = None, settings: Settings = USUAL
    ) -> None:
        """
        Args:
          recogniser: of partials, and of finals too unless there is a second.
          second: of finals.
        """
        self.recogniser, self.settings = recogniser, settings
        self.finals: Union[Recogniser, Apart] = second or recogniser
        streaming = recogniser.streaming()
        self.first_pass: FirstPass = Chunked(streaming, settings.chunk) if streaming else Anew(recogniser, settings)
        self.streams: List[Stream] = []
        self._waiting: List[Ahead] = []  # segments that are to be recognised
        self._busy: Set[Stream] = set()  # streams of which a segment is being recognised
        self._lock, self._words = threading.Lock(), threading.Lock()
        self._work, self._more_waits = threading.Event(), threading.Semaphore(0)
        self._threads: List[threading.Thread] = []
        self._closing = False

    @classmethod
    def open(
        cls,
        bundle: Union[str, Path],
        second: Optional[Union[str, Path]] = None,
        engine: str = "k2",
        settings: Settings = USUAL,
        apart: int = 0,
        doors: Callable[..., Recogniser] = Recogniser.open,
        **options: Any,
    ) -> "Live":
        """Open a bundle for streams.

        Args:
          bundle: the folder of the bundle whose first pass makes the partials.
          second: that of another bundle, which makes the finals (two-pass); None: the first one makes them, by its whole chain.
          apart: processes of their own in which the finals, and files, are recognised: for two cores or more.
          doors: opens the recogniser of the finals, in place of `Recogniser.open`; to be pickled.
          engine: see `Recogniser.open`.
          options: see `Recogniser.open`.
        Raises:
          UserError: as `Recogniser.open` does; bundles of two languages.
        """
        opened, other = partial(doors, second or bundle, engine, **options), None  # type: Any, Any
        if apart:
            other = Apart(opened, int(apart))
        first = (Recogniser.open if apart or second is not None else doors)(bundle, engine, **options)
        if second is not None and not apart:
            other = opened()
        if other is not None and other.language != first.language:
            raise UserError(f"{bundle} recognises '{first.language}', and {second} '{other.language}': take two of one language")
        return cls(first, other, settings)

    @property
    def rate(self) -> int:
        """Hz of samples that need no resampling; others are taken too."""
        return self.recogniser.rate

    @property
    def language(self) -> str:
        """ISO 639-1 code."""
        return self.recogniser.language

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self.recogniser.manifest

    def stream(self, rate: int, on_event: Callable[[Event], None], watch: Optional[Callable[[Stream], Watch]] = None) -> Stream:
        """A new stream; thread-safe.

        Args:
          rate: Hz, of its samples.
          on_event: is told its events in order, from a thread of this object, and must not block.
          watch: makes what follows it beside its words.
        Raises:
          UserError: a rate that is none; a `Live` that is closing.
        """
        if self._closing:
            raise UserError("no new streams: recognition is about to end")
        made = Stream(rate, self.settings, on_event, self._work.set)
        made.watch = None if watch is None else watch(made)
        with self._lock:
            self.streams.append(made)
        return made

    def start(self) -> None:
        """Work in threads of its own: one for partials, and one for finals or for each process that makes them.

        What is loaded with the first call is loaded now.
        """
        silence = [(np.zeros(self.rate, np.float32), self.rate)]
        self.recogniser.first_pass(silence)
        count = self.finals.count if isinstance(self.finals, Apart) else 1
        for _ in range(count):  # the processes take turns
            self.finals.transcribe_many(silence)
        for work in (self._rounds, *[self._finals] * count):
            self._threads.append(threading.Thread(target=work, name=f"live{work.__name__}", daemon=True))
            self._threads[-1].start()

    def close(self, finish: bool = True) -> None:
        """Take no new streams and end: finish those that run, or cancel them."""
        self._closing = True
        for stream in self._running():
            if finish:
                stream.finish()
            else:
                stream.cancel()
        self._work.set()
        for thread in self._threads:
            thread.join()
        if not self._threads:
            while self.step():
                pass
        self._threads.clear()
        if isinstance(self.finals, Apart):
            self.finals.close()

    @property
    def alive(self) -> bool:
        """Whether all that `start` started still works."""
        apart = isinstance(self.finals, Apart) and not self.finals.alive
        return not apart and all(thread.is_alive() for thread in self._threads)

    def step(self) -> bool:
        """One round by hand, without `start`; whether there was anything to do."""
        worked = self._round()
        return self._recognise_next() or worked

    def transcribe(self, recordings: Sequence[Sound], **options: Any) -> List[Transcript]:
        """Recordings by the whole chain that makes the finals; see `Recogniser.transcribe_many`."""
        return self.finals.transcribe_many(recordings, **options)

    def words(self) -> List[str]:
        """The words that were added."""
        return self.recogniser.added

    def add_words(
        self,
        words: Sequence[str],
        weight: float = 0.0,
        recordings: Mapping[str, Sequence[Path]] = {},
        dry_run: bool = False,
    ) -> List[str]:
        """Add words to all streams, also those that run; they work on while the graphs are made. Thread-safe.

        Args:
          words: each 'WORD' or 'WORD UNIT UNIT ...' with its pronunciation.
          weight: natural log by which they become more likely (hot words); words of the vocabulary may be given one too.
          recordings: more words, with recordings of each alone: audio files.
          dry_run: whether only the remarks are wanted: nothing is added.
        Returns:
          remarks: words that were changed, and words that the model can't tell from others.
        Raises:
          UserError: words that can't be added, and none of them is; an engine that can't add words.
        """
        every = [self.recogniser, *[self.finals] * (self.finals is not self.recogniser)]
        with self._words, ThreadPoolExecutor(len(every)) as pool:
            before = self.recogniser.added
            calls = [pool.submit(one.add_words, words, weight, recordings, dry_run) for one in every]
            failed = [error for error in (call.exception() for call in calls) if error is not None]
            if failed:  # in a dry run nothing was added
                for one in every:
                    if new := [word for word in one.added if word not in before]:
                        one.remove_words(new)
                raise failed[0]
            return list(dict.fromkeys(note for call in calls for note in call.result()))

    def remove_words(self, words: Sequence[str]) -> None:
        """Take added words, or their weights, away; without any left, all is bit for bit as before. Thread-safe.

        Raises:
          UserError: a word that was not added.
        """
        with self._words:
            self.recogniser.remove_words(words)
            if self.finals is not self.recogniser:
                self.finals.remove_words(words)

    def _running(self) -> List[Stream]:
        with self._lock:
            self.streams = [stream for stream in self.streams if not stream.over]
            return list(self.streams)

    def _rounds(self) -> None:
        """The thread of partials."""
        while True:
            self._work.wait()
            self._work.clear()
            began = time.monotonic()
            if self._round():
                self._work.set()
            if self._closing and not self._running():
                self._more_waits.release(len(self._threads))
                return
            time.sleep(max(0.0, self.settings.tick - (time.monotonic() - began)))

    def _finals(self) -> None:
        """A thread of finals."""
        while True:
            self._more_waits.acquire()
            while self._recognise_next():
                pass
            if self._closing and not self._running():
                return

    def _round(self) -> bool:
        """Take what came, advance every stream, and run one first pass of those that are due."""
        due, worked = [], False
        for stream in self._running():
            try:
                if stream.take() or stream.waiting:
                    worked = self._advance(stream) or worked
                if stream.due(self.first_pass):
                    due.append(stream)
            except Exception as error:
                log.exception("a stream failed")
                stream.fail(f"this stream can't be recognised: {type(error).__name__}: {error}")
        if due:
            for stream, words in zip(due, self._heard(due)):
                if words is not None:
                    stream.found(words)
        return worked or bool(due)

    def _advance(self, stream: Stream) -> bool:
        """Advance a stream through its samples, to where it must be known whether there are words; whether anything happened."""
        finished = stream.finished  # before its samples are looked at
        stream.take()
        self._recognise_soon(stream.paused())  # a rule may wait for what was recognised meanwhile
        worked = False
        while not stream.over:
            ended = stream.segments.advance()
            if ended is None and finished and not stream.segments.asks:
                ended = stream.segments.finish()
            if ended is None:
                break
            worked = True
            self._recognise_soon(stream.closes(ended))
        self._recognise_soon(stream.paused())
        if finished and not stream.segments.asks:
            stream.end()
            worked = worked or stream.over
        return worked

    def _heard(self, streams: Sequence[Stream]) -> List[Optional[List[Word]]]:
        """The words of the open segments of streams; where the first pass fails, None."""
        try:
            return list(self.first_pass([stream.opened(self.first_pass) for stream in streams]))
        except Exception as error:
            if len(streams) > 1:
                return [self._heard([stream])[0] for stream in streams]
            log.exception("the first pass failed")
            streams[0].fail(f"this stream can't be recognised: {type(error).__name__}: {error}")
            return [None]

    def _recognise_soon(self, ahead: Optional[Ahead]) -> None:
        if ahead is not None:
            with self._lock:
                self._waiting.append(ahead)
            self._more_waits.release()

    def _recognise_next(self) -> bool:
        """Recognise a segment that waits; whether there was one. One at a time: several in a batch cost as much."""
        with self._lock:
            self._waiting = [one for one in self._waiting if one.wanted and not one.stream.over]
            firsts = {one.stream: one for one in reversed(self._waiting) if one.stream not in self._busy}
            if not firsts:
                return False
            ahead = min(firsts.values(), key=lambda one: one.since + PATIENCE * len(one.segment.samples) / one.stream.rate)
            self._waiting.remove(ahead)
            self._busy.add(ahead.stream)  # which gets its finals in order
        ahead.stream.recognised(ahead, self._final(ahead))
        with self._lock:
            self._busy.discard(ahead.stream)
        self._work.set()  # the stream may end its segment, or be at its end, now
        return True

    def _final(self, ahead: Ahead) -> Union[Transcript, str]:
        """The words of a segment, or why there are none."""
        try:
            watch = ahead.stream.watch
            transcribe = self.finals.transcribe if watch is None else watch.transcribe
            return transcribe(ahead.segment.samples, ahead.stream.rate)
        except UserError as error:
            return str(error)
        except Exception as error:  # whatever an engine raises at one segment must not cost the others
            log.exception("a segment failed")
            return f"{type(error).__name__}: {error}"
