"""Watching the streams of a `Live`: one thread for all, so that neither partials nor finals wait for it."""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Rows
from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.live.chunks import Chunked
from utils.live.events import Event
from utils.live.live import Live
from utils.live.stream import Stream
from utils.search.index import Hit
from utils.spotting.calibration import Calibration
from utils.spotting.decoder import looks
from utils.spotting.keywords import PRONOUNCED, Keyword, from_text
from utils.spotting.spotter import THRESHOLD, THRESHOLD_DECODER, Settings, Spotter
from utils.watching.chunks import frame_seconds
from utils.watching.finals import Finals
from utils.watching.watch import Asked, Means, StreamWatch

MOST = 50  # places that are found at a time


class CantFind(UserError):
    """A search of a stream's past that has no answer; `code`: why, for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Usual:
    """What a server or a command looks for in every stream, unless a stream wants something else."""

    keywords: Sequence[Keyword] = ()
    calibration: Optional[Calibration] = None
    rate: float = 0.5  # false alarms an hour for each calibrated keyword
    threshold: Optional[float] = None  # of the others; None for the usual one
    grammar: str = ""
    wake: str = ""
    minutes: float = 30.0  # of the past that a stream may keep


class Watching:
    """What watches the streams of one `Live`."""

    def __init__(self, live: Live, grammars: Sequence[str] = (), usual: Usual = Usual()) -> None:
        """
        Args:
          live: opened with `doors=utils.watching.doors.Doors.open` and `grammars`, where commands or the past are wanted.
          grammars: their names.
        """
        self.live, self.grammars, self.usual = live, list(grammars), usual
        self.names = {keyword.name: keyword for keyword in usual.keywords}
        self._finals = Finals(live)
        self._watches: List[StreamWatch] = []
        self._lock, self._work = threading.Lock(), threading.Event()
        self._table: Optional[Tuple[Tuple[str, ...], Rows]] = None
        self._thread: Optional[threading.Thread] = None
        self._closing = False
        self._usual: Optional[Tuple[List[str], Asked]] = None  # with the words that were added then

    @cached_property
    def _means(self) -> Means:
        first_pass = self.live.first_pass
        if isinstance(first_pass, Chunked):
            return Means(self._finals, False, frame_seconds(first_pass), self._work.set)
        return Means(self._finals, looks(self.live.recogniser), None, self._work.set)

    def stream(self, rate: int, on_event: Callable[[Event], None], asked: Asked) -> Stream:
        """As `Live.stream`, watched for what is asked; where that is nothing, it costs nothing. See `asked`."""
        return self.live.stream(rate, on_event, None if asked.nothing else lambda stream: self._watched(stream, asked))

    def change(self, stream: Stream, asked: Asked) -> None:
        """Watch a stream for something else from now on."""
        if isinstance(stream.watch, StreamWatch):
            stream.watch.change(asked)
        elif not asked.nothing:
            stream.watch = self._watched(stream, asked)

    def asked(self, **wanted: Any) -> Asked:
        """What a stream wants; it may take a second, and be called in any thread.

        Args:
          wanted: what it wants to have otherwise than usual: keywords, texts or None; false_alarms an hour; grammar, a name or
            None; wake, a text or None; find, whether its past can be searched.
        Raises:
          UserError: keywords that can't be looked for, an unknown grammar.
        """
        if not wanted and self._usual is not None and self._usual[0] == self.live.recogniser.added:
            return self._usual[1]
        grammar, wake = wanted.get("grammar", self.usual.grammar) or "", wanted.get("wake", self.usual.wake) or ""
        if grammar and grammar not in self.grammars:
            there = f"those here: {', '.join(self.grammars)}" if self.grammars else "this server has none (--grammar)"
            raise UserError(f"there is no grammar '{grammar}'{nearest(grammar, self.grammars)}; {there}")
        if wanted.get("wake") and not grammar:
            raise UserError(f"'{wake}' is to wake commands, but no grammar of commands is asked for")
        texts = wanted.get("keywords", list(self.names)) or []
        keywords = [self._keyword(text) for text in texts]
        if grammar and wake and name_of(wake) not in [keyword.name for keyword in keywords]:
            keywords.append(self._keyword(wake))
        spotter = self._spotter(keywords, wanted.get("false_alarms")) if keywords else None
        minutes = self.usual.minutes if wanted.get("find") and not self.cant_find else 0.0
        found = Asked(spotter, name_of(wake) if grammar else "", grammar, minutes)
        assert found.nothing or self._means  # made here: it takes a moment
        if not wanted:
            self._usual = (self.live.recogniser.added, found)
        return found

    def find(self, stream: Stream, text: str) -> Tuple[float, List[Tuple[int, Hit]]]:
        """Where something was said so far in a stream; in any thread.

        Returns:
          seconds, from where on the past is kept; and the places, the surest first, each with its segment.
        Raises:
          CantFind: nothing is kept of the stream, or nothing was said yet; words that can't be looked for.
        """
        watch = stream.watch
        if self.cant_find:
            raise CantFind("cant_find", self.cant_find)
        if not isinstance(watch, StreamWatch) or not watch.asked.minutes:
            raise CantFind("nothing_kept", 'nothing is kept of this session: start it with "find": true')
        kept = watch.past()
        if not kept:
            raise CantFind("nothing_said", "no sentence of this session is finished yet; search again when something was said")
        try:
            return kept[0].start, self._finals.found(kept, text, MOST, kept[-1].start + kept[-1].seconds)
        except UserError as error:
            raise CantFind("bad_query", _of(text, error)) from None

    @cached_property
    def cant_find(self) -> str:
        """Why nothing can be found with this bundle; empty where it can."""
        try:
            return self._finals.can_find()
        except UserError as error:
            return str(error)

    def close(self) -> None:
        """Watch no more."""
        self._closing = True
        self._work.set()
        if self._thread is not None:
            self._thread.join()

    def _watched(self, stream: Stream, asked: Asked) -> StreamWatch:
        made = StreamWatch(stream, asked, self._means)
        with self._lock:
            self._watches.append(made)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watching", daemon=True)
                self._thread.start()
        return made

    def _run(self) -> None:
        while not self._closing:
            self._work.wait()
            self._work.clear()
            while not self._closing:
                with self._lock:
                    self._watches = [one for one in self._watches if not one.stream.over]
                    watches = list(self._watches)
                if not sum(one.work() for one in watches):  # each has its turn
                    break

    def _keyword(self, text: str) -> Keyword:
        """A keyword as it is written; one of the usual ones by its name."""
        if text.strip() in self.names:
            return self.names[text.strip()]
        try:
            return from_text(self.live.recogniser, text)
        except UserError as error:
            raise UserError(_of(text, error)) from None

    def _spotter(self, keywords: Sequence[Keyword], rate: Optional[float]) -> Spotter:
        if self._cant_spot:
            raise UserError(self._cant_spot)
        calibration = self.usual.calibration
        if rate is not None and calibration is None:
            raise UserError("rates of false alarms need what steps.spot --calibrate wrote, and nothing is calibrated here")
        usual = THRESHOLD_DECODER if self._means.second_look else THRESHOLD
        least = usual if self.usual.threshold is None else self.usual.threshold
        thresholds = [
            calibration.threshold(keyword, self.usual.rate if rate is None else rate)
            if calibration is not None and (rate is not None or keyword.name in calibration.scores)
            else least
            for keyword in keywords
        ]
        return Spotter(keywords, self._rows(), thresholds, Settings())

    @cached_property
    def _cant_spot(self) -> str:
        recogniser = self.live.recogniser
        if isinstance(self.live.first_pass, Chunked):
            there = self._means.frame_seconds is not None
        else:
            there = bool(recogniser.evidence([(np.zeros(recogniser.rate, np.float32), recogniser.rate)])[0].subword.size)
        return "" if there else "this bundle has no sub-word head, which keywords need; take one of a recipe with both heads"

    def _rows(self) -> Rows:
        """The vocabulary of now, which keywords compete with."""
        now = tuple(self.live.recogniser.added)
        if self._table is None or self._table[0] != now:
            self._table = (now, self.live.recogniser.rows())
        return self._table[1]


def name_of(text: str) -> str:
    """The name of a keyword as it is written: without its pronunciation."""
    return text.partition(PRONOUNCED)[0].strip()


def _of(text: str, error: UserError) -> str:
    """What is wrong with a keyword or a query, in one sentence that names it."""
    said = " ".join(str(error).split())
    return said if text.strip() in said else f"'{text.strip()}' can't be looked for: {said}"
