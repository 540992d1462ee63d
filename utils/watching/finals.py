"""The doors of the recogniser that makes the finals of a `Live`, wherever that stands."""

from typing import Any, List, Sequence, Tuple

import numpy as np

from utils.bundle.transcript import Transcript
from utils.commands.recognise import Answer
from utils.core.errors import UserError
from utils.live.apart import Apart
from utils.live.live import Live
from utils.search.contents import Indexed
from utils.search.index import Hit
from utils.watching.doors import Past


class Finals:
    """Calls of `utils.watching.doors.Doors`, by the names that these have there."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def transcribe(self, samples: np.ndarray, rate: int) -> Transcript:
        """The words."""
        return self.live.finals.transcribe(samples, rate)

    def remembered(self, samples: np.ndarray, rate: int) -> Indexed:
        """The words, with what later queries need."""
        return self._call("remembered", samples, rate)

    def understood(self, grammar: str, samples: np.ndarray, rate: int) -> Answer:
        """The command; other recordings may be recognised meanwhile."""
        return self._call("understood", grammar, samples, rate, beside=True)

    def found(self, kept: Sequence[Past], text: str, most: int, seconds: float) -> List[Tuple[int, Hit]]:
        """Where something was said; other recordings may be recognised meanwhile."""
        return self._call("found", kept, text, most, seconds, beside=True)

    def can_find(self) -> str:
        """Why nothing can be found; empty where it can."""
        return self._call("can_find")

    def _call(self, name: str, *given: Any, beside: bool = False) -> Any:
        finals = self.live.finals
        if isinstance(finals, Apart):
            return finals.call(name, *given, beside=beside)
        if not hasattr(finals, name):
            raise UserError("open the bundle with doors=Doors.open (utils.watching.doors) for commands and for the past")
        return getattr(finals, name)(*given)
