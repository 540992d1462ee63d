"""What the requests of one server share."""

from dataclasses import asdict
from typing import Any, Dict, Optional, Protocol, Set

from utils.live.live import Live
from utils.server.limits import Limits
from utils.server.metrics import Metrics
from utils.server.protocol import Refused, encoded
from utils.watching.watching import Usual, Watching

# Limits that clients are told.
SHOWN = ("sessions", "message_bytes", "session_seconds", "idle_seconds", "backlog_seconds", "keywords", "query_characters")


class Running(Protocol):
    """A session with a stream."""

    touched: float  # when its last message came; monotonic

    def end(self, why: Refused) -> None:
        """Take no more audio; the client gets its finals, then the reason."""

    def tell(self, text: str) -> None:
        """Send a message besides what the stream says, as JSON."""


class Shared:
    """The recogniser, the limits, the counters, and the sessions."""

    def __init__(self, live: Live, limits: Limits, watching: Optional[Watching] = None) -> None:
        self.live, self.limits = live, limits
        self.watching = watching or Watching(live, usual=Usual(minutes=limits.find_minutes))
        self.sessions: Set[Running] = set()
        self.opening = 0  # WebSockets that have not started a stream
        self.files = 0  # that are recognised or wait
        self.changes = 0  # of the words, that are made or wait
        self.ending = False
        self.metrics = Metrics(lambda: len(self.sessions), lambda: self.files)

    def about(self) -> Dict[str, Any]:
        """What a client is told of the server."""
        limits = asdict(self.limits)
        grammars = self.watching.grammars
        return {"language": self.live.language, "grammars": grammars, "limits": {name: limits[name] for name in SHOWN}}

    def check_open(self) -> None:
        """Raises Refused where the server is ending."""
        if self.ending:
            raise Refused("shutting_down", "the server is ending; try again later, or another one")

    def tell(self, message: Dict[str, Any]) -> None:
        """Send a message to all sessions."""
        text = encoded(message)
        for session in list(self.sessions):
            session.tell(text)
