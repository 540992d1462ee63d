"""One stream without threads: samples in, events out."""

from typing import List, Optional

import numpy as np

from utils.bundle.recogniser import Recogniser
from utils.live.events import Event
from utils.live.live import Live
from utils.live.settings import Settings


class Listener:
    """A stream that works where it is called; `Recogniser.stream` makes it."""

    def __init__(self, recogniser: Recogniser, rate: int, settings: Optional[Settings] = None) -> None:
        """rate: Hz."""
        self._live, self._events = Live(recogniser, settings=settings or Settings()), []  # type: Live, List[Event]
        self._stream = self._live.stream(rate, self._events.append)

    def accept(self, samples: np.ndarray) -> List[Event]:
        """The events that (T,) float32 more samples bring; see `Stream.accept`."""
        self._stream.accept(samples)
        return self._new()

    def finish(self) -> List[Event]:
        """The last events."""
        self._stream.finish()
        return self._new()

    def _new(self) -> List[Event]:
        while self._live.step():
            pass
        events = list(self._events)
        self._events.clear()
        return events
