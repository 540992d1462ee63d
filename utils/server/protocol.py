"""The messages of a stream: JSON in both directions, and 16-bit PCM from the client. docs/serving.md describes them."""

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Union

import numpy as np

from utils.bundle.transcript import Transcript, Word
from utils.core.errors import printable
from utils.live.events import Event, Failed, Final, Partial

FORMAT = "pcm_s16le"
LOWEST, HIGHEST = 4000, 192_000  # Hz
HELD = 0.01  # seconds; shorter pieces of audio wait for what follows
SAME_TIME, SAME_CONFIDENCE = 0.1, 0.05  # a word whose times (seconds) and confidence changed less is not sent again

# Code of an error -> code that closes the WebSocket (RFC 6455, section 7.4).
CLOSES = {
    "bad_message": 1008,
    "idle": 1008,
    "too_fast": 1008,
    "too_long": 1008,
    "too_slow": 1008,
    "unauthorised": 1008,
    "too_big": 1009,
    "internal": 1011,
    "shutting_down": 1012,
    "overloaded": 1013,
    "too_many_sessions": 1013,
}


class Refused(Exception):
    """An error that a client is told, after which its session ends."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, printable(message)


@dataclass(frozen=True)
class Start:
    """What a client asks for."""

    rate: int  # Hz
    partials: bool = True


def start_of(text: str) -> Start:
    """The first message. Raises Refused for another, or one with what is not known."""
    said = _object(text)
    if said.get("type") != "start":
        raise Refused("bad_message", 'the first message must be {"type":"start","rate":16000}')
    unknown = sorted(said.keys() - {"type", "rate", "format", "partials"})
    if unknown:
        raise Refused("bad_message", f"a start has no '{unknown[0][:40]}'; it has rate, format and partials")
    rate, form, partials = said.get("rate"), said.get("format", FORMAT), said.get("partials", True)
    if not isinstance(rate, int) or isinstance(rate, bool) or not LOWEST <= rate <= HIGHEST:
        raise Refused("bad_message", f"the rate must be a whole number of Hz from {LOWEST} to {HIGHEST}, not {_shown(rate)}")
    if form != FORMAT:
        raise Refused("bad_message", f"the format must be {FORMAT} (16-bit little-endian, one channel), not {_shown(form)}")
    if not isinstance(partials, bool):
        raise Refused("bad_message", f"partials must be true or false, not {_shown(partials)}")
    return Start(rate, partials)


def check_finish(text: str) -> None:
    """Raises Refused where a text message after the first is not the one that there is."""
    if _object(text).get("type") != "finish":
        raise Refused("bad_message", 'after the start, text may only be {"type":"finish"}; audio is sent as binary messages')


def _object(text: str) -> Dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refused("bad_message", f"this message is not a JSON object: {_shown(text)}")
    return said


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Samples:
    """Joins the binary messages of a client: an odd byte, and less than `HELD` seconds, wait for what follows."""

    def __init__(self, rate: int) -> None:
        """rate: Hz."""
        self._least, self._held = 2 * max(1, int(HELD * rate)), bytearray()

    def push(self, message: bytes) -> Optional[np.ndarray]:
        """The samples that are complete, (T,) float32 from -1 to 1; None where they are too few."""
        self._held += message
        return self._taken() if len(self._held) >= self._least else None

    def rest(self) -> np.ndarray:
        """(T,) float32: what waits at the end."""
        return self._taken()

    def _taken(self) -> np.ndarray:
        whole = len(self._held) & ~1
        samples = np.frombuffer(bytes(self._held[:whole]), "<i2").astype(np.float32) / 32768
        del self._held[:whole]
        return samples


class Messages:
    """What is sent of a stream's events. Partials are differences to what was sent before."""

    def __init__(self) -> None:
        self._segment = -1
        self._sent: List[Word] = []  # words of this segment that the client has

    def of(self, event: Event) -> Dict[str, Any]:
        """The message of an event."""
        if isinstance(event, Partial):
            return self._partial(event)
        if isinstance(event, Final):
            about = {"segment": event.segment, "start": _rounded(event.start), "end": _rounded(event.end)}
            return {"type": "final", **about, **_transcript(event.transcript)}
        if isinstance(event, Failed):
            return {"type": "failed", "segment": event.segment, "message": printable(event.message)}
        return {"type": "ended", "heard": _rounded(event.heard)}

    def _partial(self, event: Partial) -> Dict[str, Any]:
        if event.segment != self._segment:
            self._segment, self._sent = event.segment, []
        keep = 0
        for before, now in zip(self._sent, event.words):
            if not _same(before, now):
                break
            keep += 1
        self._sent = [*self._sent[:keep], *event.words[keep:]]
        about = {"segment": event.segment, "start": _rounded(event.start), "keep": keep}
        words = [_word(word) for word in event.words[keep:]]
        return {"type": "partial", **about, "words": words, "stable": event.stable, "heard": _rounded(event.heard)}


def encoded(message: Dict[str, Any]) -> str:
    """A message as it is sent."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def error_message(error: Refused) -> Dict[str, Any]:
    """The message of an error."""
    return {"type": "error", "code": error.code, "message": error.message}


def _same(one: Word, other: Word) -> bool:
    return (
        one.text == other.text
        and abs(one.start - other.start) < SAME_TIME
        and abs(one.end - other.end) < SAME_TIME
        and (one.confidence is None) == (other.confidence is None)
        and abs((one.confidence or 0.0) - (other.confidence or 0.0)) < SAME_CONFIDENCE
    )


def _transcript(found: Transcript) -> Dict[str, Any]:
    words = [{**_word(word), "alternatives": [[text, _rounded(p)] for text, p in word.alternatives]} for word in found.words]
    nbest = [{"text": one.text, "score": _rounded(one.score)} for one in found.nbest]
    return {"text": found.text, "words": words, "nbest": nbest}


def _word(word: Word) -> Dict[str, Union[str, float, None]]:
    times = {"text": word.text, "start": _rounded(word.start), "end": _rounded(word.end)}
    return {**times, "confidence": _rounded(word.confidence)}


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(float(value), 3)
