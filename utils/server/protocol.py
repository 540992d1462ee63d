"""The messages of a stream: JSON in both directions, and 16-bit PCM from the client. docs/serving.md describes them."""

import json
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from utils.bundle.transcript import Transcript, Word
from utils.core.allowed import nearest
from utils.core.errors import printable
from utils.live.events import Command, Event, Failed, Final, Keyword, Partial
from utils.search.index import Hit
from utils.server.limits import Limits

FORMAT = "pcm_s16le"
LOWEST, HIGHEST = 4000, 192_000  # Hz
HELD = 0.01  # seconds; shorter pieces of audio wait for what follows
SAME_TIME, SAME_CONFIDENCE = 0.1, 0.05  # a word whose times (seconds) and confidence changed less is not sent again

WISHES = ("keywords", "false_alarms", "grammar", "wake", "find")  # keys of a start that `Watching.asked` takes

# Code of an error -> code that closes the WebSocket (RFC 6455, section 7.4).
CLOSES = {
    "bad_keywords": 1008,
    "bad_message": 1008,
    "idle": 1008,
    "too_fast": 1008,
    "too_long": 1008,
    "too_many_keywords": 1008,
    "too_slow": 1008,
    "unauthorised": 1008,
    "unknown_grammar": 1008,
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
    wishes: Dict[str, Any] = field(default_factory=dict)  # what it wants to know besides the words, see WISHES


def start_of(text: str, limits: Limits, usual: Collection[str] = ()) -> Start:
    """The first message. usual: see `check_wishes`. Raises Refused for another, or one with what is not known."""
    said = _object(text)
    if said.get("type") != "start":
        raise Refused("bad_message", 'the first message must be {"type":"start","rate":16000}')
    _check_keys(said, ("rate", "format", "partials", *WISHES))
    rate, form, partials = said.get("rate"), said.get("format", FORMAT), said.get("partials", True)
    if not isinstance(rate, int) or isinstance(rate, bool) or not LOWEST <= rate <= HIGHEST:
        raise Refused("bad_message", f"the rate must be a whole number of Hz from {LOWEST} to {HIGHEST}, not {_shown(rate)}")
    if form != FORMAT:
        raise Refused("bad_message", f"the format must be {FORMAT} (16-bit little-endian, one channel), not {_shown(form)}")
    if not isinstance(partials, bool):
        raise Refused("bad_message", f"partials must be true or false, not {_shown(partials)}")
    wishes = {name: said[name] for name in WISHES if name in said}
    check_wishes(wishes, limits, usual)
    return Start(rate, partials, wishes)


def message_of(text: str) -> Dict[str, Any]:
    """A text message after the start. Raises Refused where it is none of those that there are."""
    said = _object(text)
    kinds = {"finish": (), "keywords": ("keywords", "false_alarms", "id"), "find": ("query", "id")}
    kind = said.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise Refused(
            "bad_message", f"after the start, the type of a text is one of {', '.join(kinds)}; audio is sent as binary messages"
        )
    if kind != "finish":
        _check_keys(said, kinds[kind])
    return said


def check_wishes(wishes: Dict[str, Any], limits: Limits, usual: Collection[str]) -> None:
    """Raises Refused for wishes of another form, or beyond the limits, of which the server's usual keywords are no part."""
    texts = wishes.get("keywords")
    if texts is not None:
        if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
            raise Refused("bad_keywords", 'keywords must be a list of texts, each "WORDS" or "WORDS = UNIT UNIT"; null for none')
        own, most = [one for one in texts if one not in usual], limits.keywords
        if len(own) > most:
            raise Refused("too_many_keywords", f"{len(own)} keywords are too many for a session, which may have {most}")
        long = [one for one in own if len(one) > limits.keyword_characters]
        if long:
            raise Refused("bad_keywords", f"the keyword {_shown(long[0])} has more than {limits.keyword_characters} characters")
    rate = wishes.get("false_alarms", 1)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < 1e6:
        raise Refused("bad_message", f"false_alarms must be a number an hour above 0, not {_shown(rate)}")
    for name in ("grammar", "wake"):
        value = wishes.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value.strip()) <= limits.keyword_characters):
            raise Refused("bad_message", f"{name} must be a text or null, not {_shown(value)}")
    if not isinstance(wishes.get("find", False), bool):
        raise Refused("bad_message", f"find must be true or false, not {_shown(wishes['find'])}")


def _check_keys(said: Dict[str, Any], keys: Sequence[str]) -> None:
    unknown = sorted(said.keys() - {"type", *keys})
    if unknown:
        there = f"{nearest(unknown[0], keys)}; it has {', '.join(keys)}"
        raise Refused("bad_message", f"a {said['type']} has no '{unknown[0][:40]}'{there}")


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
        if isinstance(event, Keyword):
            return {"type": "keyword", **_keyword(event)}
        if isinstance(event, Command):
            return _command(event)
        return {"type": "ended", "heard": event.heard}

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


def found_message(query: Dict[str, Any], hits: Sequence[Tuple[int, Hit]], since: float) -> Dict[str, Any]:
    """What was found; since: seconds, from where on the session's past is kept."""
    rows = [
        {"segment": segment, "start": hit.start, "end": hit.end, "probability": _rounded(hit.probability), "sure": hit.sure}
        for segment, hit in hits
    ]
    return {"type": "found", "id": query.get("id"), "query": query["query"], "since": _rounded(since), "hits": rows}


def refused_message(said: Dict[str, Any], error: Refused) -> Dict[str, Any]:
    """That a message of a client was refused; its session goes on."""
    return {"type": "refused", "of": said["type"], "id": said.get("id"), "code": error.code, "message": error.message}


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


def _keyword(event: Keyword) -> Dict[str, Any]:
    numbers = {name: _rounded(getattr(event, name)) for name in ("start", "end", "score", "probability")}
    return {"text": event.text, **numbers}


def _command(event: Command) -> Dict[str, Any]:
    about = {"segment": event.segment, "start": _rounded(event.start), "end": _rounded(event.end)}
    found = {"intent": event.intent, "slots": event.slots, "confidence": _rounded(event.confidence), "text": event.text}
    return {"type": "command", **about, **found, "wake": None if event.wake is None else _keyword(event.wake)}


def _word(word: Word) -> Dict[str, Union[str, float, None]]:
    times = {"text": word.text, "start": _rounded(word.start), "end": _rounded(word.end)}
    return {**times, "confidence": _rounded(word.confidence)}


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(float(value), 3)
