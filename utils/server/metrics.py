"""What the server counts, for Prometheus."""

import bisect
import time
from array import array
from typing import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DELAYS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)  # seconds
STEP, KEPT = 0.02, 120.0  # seconds of audio for each of which its arrival is kept, and for how many at least


class Metrics:
    """Counters of one server."""

    def __init__(self, sessions: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Args: the number of running sessions, and of files that are recognised or wait."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU seconds, open files
        Gauge("nuptse_sessions", "running sessions", registry=self.registry).set_function(sessions)
        Gauge("nuptse_files", "files that are recognised or wait", registry=self.registry).set_function(waiting)
        self.started = Counter("nuptse_sessions_started", "sessions since the start", registry=self.registry)
        self.audio = Counter("nuptse_audio_seconds", "audio of sessions and files", ["source"], registry=self.registry)
        self.messages = Counter("nuptse_messages", "messages sent to clients", ["type"], registry=self.registry)
        self.errors = Counter("nuptse_errors", "errors that clients were told", ["code"], registry=self.registry)
        self.delays = Histogram(
            "nuptse_delay_seconds",
            "of partials: from the arrival of the last audio in them; of others: from that of the end of what they say",
            ["type"],
            buckets=DELAYS,
            registry=self.registry,
        )
        self.keywords = Counter("nuptse_keywords", "keywords that were said", registry=self.registry)
        self.commands = Counter("nuptse_commands", "commands, and what was none", ["intent"], registry=self.registry)
        self.finding = Histogram("nuptse_find_seconds", "of searches in sessions", buckets=DELAYS, registry=self.registry)
        self._cpu = time.process_time()
        Gauge(
            "nuptse_real_time_factor", "CPU seconds of this process by seconds of audio, since the start", registry=self.registry
        ).set_function(self._factor)
        self._heard = 0.0  # seconds
        for source in ("stream", "file"):
            self.audio.labels(source)

    def hear(self, source: str, seconds: float) -> None:
        """Audio came: of a `stream` or a `file`."""
        self.audio.labels(source).inc(seconds)
        self._heard += seconds

    def page(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)

    def _factor(self) -> float:
        return (time.process_time() - self._cpu) / self._heard if self._heard else 0.0


class Arrivals:
    """When the audio of a session came, for the delay of what is said of it. Only the last minutes are kept."""

    def __init__(self) -> None:
        self._seconds = array("d")  # of audio until here
        self._times = array("d")  # when the last of them came

    def add(self, seconds: float, now: float) -> None:
        """Audio came; `seconds` are those of the session until now."""
        if len(self._seconds) > 1 and seconds - self._seconds[-2] < STEP:
            self._seconds[-1], self._times[-1] = seconds, now
            return
        self._seconds.append(seconds)
        self._times.append(now)
        if seconds - self._seconds[0] > 2 * KEPT:
            old = bisect.bisect_left(self._seconds, seconds - KEPT)
            del self._seconds[:old], self._times[:old]

    def at(self, seconds: float) -> float:
        """When the audio until `seconds` was there."""
        index = bisect.bisect_left(self._seconds, seconds - 1e-3)
        return self._times[min(index, len(self._times) - 1)] if self._times else time.monotonic()
