"""POST /v1/audio/transcriptions: files, as OpenAI's clients send them."""

import asyncio
import math
import shutil
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any, Dict, List, Sequence, Set, Tuple

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from utils.bundle.recogniser import Sound
from utils.bundle.transcript import Transcript
from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.core.languages import family
from utils.live.live import Live
from utils.recognition.files import recognise
from utils.recognition.outcomes import Outcome, Segment
from utils.recognition.writers import srt, vtt
from utils.server.problems import Problem
from utils.server.shared import Shared
from utils.text.letters import joined

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
FIELDS = (
    "file",
    "model",
    "language",
    "response_format",
    "timestamp_granularities[]",
    "temperature",
    "prompt",
    "chunking_strategy",
)
SLOWEST = 8000  # bytes a second of an upload, in the long run
PART = 64 * 1024  # bytes of a field that is no file
BREATH = 0.005  # seconds between two windows of a file


class _Cancelled(Exception):
    """The client left."""


@dataclass(frozen=True)
class Asked:
    """What a form asks for."""

    file: UploadFile
    form: str
    granularities: Sequence[str]


@dataclass(frozen=True)
class _Door:
    """The windows of one file go through the recogniser one by one, so that finals of streams wait for no more than one."""

    live: Live
    cancelled: threading.Event

    def transcribe_many(self, recordings: Sequence[Sound]) -> List[Transcript]:
        out = []
        for one in recordings:
            if self.cancelled.is_set():
                raise UserError("the client left")
            out += self.live.transcribe([one])
            time.sleep(BREATH)  # who waits for the recogniser has it now: its lock knows no turns
        return out

    @property
    def language(self) -> str:
        return self.live.language


class Files:
    """Files of one server: one is recognised at a time, and a few may wait."""

    def __init__(self, serving: Shared) -> None:
        self.serving = serving
        self._thread = ThreadPoolExecutor(1, "file")
        self._cancelled: List[threading.Event] = []  # of those that are recognised or wait

    def close(self) -> None:
        """Stop what is recognised."""
        for one in list(self._cancelled):
            one.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, request: Request) -> Response:
        """The route."""
        limits = self.serving.limits
        if self.serving.ending:
            raise Problem(503, "shutting_down", "the server is ending; try again later, or another one")
        if self.serving.files >= limits.transcriptions:
            raise Problem(429, "too_many_files", f"{self.serving.files} files are recognised or wait already; try again later")
        self.serving.files += 1
        try:
            async with form_of(request, limits.file_bytes, limits.idle_seconds) as form:
                asked = asked_of(form, self.serving.live.language)
                outcome = await self._recognised(request, asked.file)
        finally:
            self.serving.files -= 1
        self.serving.metrics.hear("file", outcome.seconds)
        return answer(outcome, asked)

    async def _recognised(self, request: Request, file: UploadFile) -> Outcome:
        """What a file says, unless the client leaves before."""
        cancelled = threading.Event()
        self._cancelled.append(cancelled)
        name = PurePath(file.filename or "").name or "file"
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._work, file.file, name, cancelled)
        left = asyncio.create_task(_left(request))
        either: Set["asyncio.Future[Any]"] = {work, left}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                cancelled.set()
                work.cancel()  # where it has not begun
            return await work
        except (_Cancelled, asyncio.CancelledError):
            raise ClientDisconnect from None
        except UserError as error:
            raise Problem(400, "unreadable", str(error), "file") from None
        finally:
            left.cancel()
            self._cancelled.remove(cancelled)

    def _work(self, file: IO[bytes], name: str, cancelled: threading.Event) -> Outcome:
        """Recognise a file, in the thread of files."""

        def heard(index: int, share: float) -> None:
            if cancelled.is_set():
                raise _Cancelled

        heard(0, 0.0)
        door: Any = _Door(self.serving.live, cancelled)
        with copied(file, name) as path:
            done = next(iter(recognise([(0, path)], door, "mix", heard, self.serving.limits.file_seconds)))
        if done.outcome is None:
            raise UserError(done.problem.replace(str(path), name))
        heard(0, 1.0)
        return done.outcome


class copied:
    """A file that was sent, under a path for as long as the block lasts."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """name: that of the client, whose suffix tells of formats without a header."""
        self._file, self._suffix = file, PurePath(name).suffix[:8].replace("/", "").replace("\0", "")

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="nuptse-")
        path = Path(self._folder.name, f"file{self._suffix}")
        with open(path, "wb") as copy:
            shutil.copyfileobj(self._file, copy)
        return path

    def __exit__(self, *_: Any) -> None:
        self._folder.cleanup()


def bounded(request: Request, most: int, idle: float) -> Request:
    """A request whose content is read to a bound.

    Args:
      most: bytes; more are refused before they are read where the request tells their number.
      idle: seconds.
    Raises:
      Problem: too many bytes; so does the request that is returned, and where they come too slowly.
    """
    receive, began, received = request.receive, time.monotonic(), 0
    too_big = Problem(413, "too_big", f"the request has more than {most} bytes; send parts of it, or audio of another format")
    promised = request.headers.get("content-length", "0")
    if not promised.isdecimal() or int(promised) > most:
        raise too_big

    async def next_part() -> Any:
        nonlocal received
        left = began + idle + received / SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.0))
        except asyncio.TimeoutError:
            raise Problem(408, "idle", f"the request comes too slowly: {received} bytes in {idle:g} s and more") from None
        received += len(message.get("body", b""))
        if received > most:
            raise too_big
        return message

    return Request(request.scope, next_part)


def form_of(request: Request, most: int, idle: float) -> Any:
    """The form of a request, as a context manager. Arguments and errors: as of `bounded`; Problem for another content, too."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(400, "bad_request", "the content must be a form: multipart/form-data, with a file")
    return bounded(request, most, idle).form(max_files=1, max_fields=32, max_part_size=PART)


def asked_of(form: FormData, language: str) -> Asked:
    """What a form asks for.

    Args:
      language: of the bundle.
    Raises:
      Problem: a field that is not known, is missing, or has another value than those that there are.
    """
    for name in form:
        if name not in (*FIELDS, "timestamp_granularities"):
            raise _wrong(name, f"there is no field '{name[:60]}'{nearest(name, FIELDS)}: there are {', '.join(FIELDS)}")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _wrong("file", "the form needs an audio file, as the field file with a file name")
    texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    chosen = texts.get("response_format") or "json"
    if chosen not in FORMATS:
        raise _wrong("response_format", f"there is no response_format '{chosen[:60]}': there are {', '.join(FORMATS)}")
    granularities = [str(one) for name in ("timestamp_granularities[]", "timestamp_granularities") for one in form.getlist(name)]
    for one in granularities:
        if one not in GRANULARITIES:
            raise _wrong("timestamp_granularities", f"there are no times for each '{one[:60]}': there are segment and word")
    if granularities and chosen != "verbose_json":
        raise _wrong("timestamp_granularities", "timestamp_granularities need response_format=verbose_json")
    asked = texts.get("language") or language
    if family(asked) != family(language):
        raise _wrong("language", f"language={asked[:60]}: this server recognises '{language}' alone")
    if texts.get("prompt", "").strip():
        raise _wrong("prompt", "prompts have no effect here, so none is taken; add words by POST /v1/words instead")
    return Asked(file, chosen, granularities or ["segment"])


def _wrong(param: str, message: str) -> Problem:
    return Problem(400, "bad_request", message, param)


async def _left(request: Request) -> None:
    """Wait until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def answer(outcome: Outcome, asked: Asked) -> Response:
    """What was recognised, in the form that was asked for."""
    text = joined([word.text for segment in outcome.segments for word in segment.words])
    if asked.form == "json":
        return JSONResponse({"text": text})
    if asked.form == "text":
        return PlainTextResponse(text + "\n")
    if asked.form in ("srt", "vtt"):
        return PlainTextResponse({"srt": srt, "vtt": vtt}[asked.form](outcome))
    spoken = [segment for segment in outcome.segments if segment.words]
    about: Dict[str, Any] = {"task": "transcribe", "language": outcome.language, "duration": outcome.seconds, "text": text}
    if "segment" in asked.granularities:
        about["segments"] = [_segment(n, one) for n, one in enumerate(spoken)]
    if "word" in asked.granularities:
        words = [word for segment in spoken for word in segment.words]
        about["words"] = [
            {
                "word": w.text,
                "start": round(w.start, 3),
                "end": round(w.end, 3),
                "confidence": w.confidence,
                "alternatives": w.alternatives,
            }
            for w in words
        ]
    return JSONResponse(about)


def _segment(number: int, segment: Segment) -> Dict[str, Any]:
    """A segment with the fields of OpenAI's. What belongs to Whisper's search alone is 0, or empty."""
    text = segment.transcript.text
    sure = [word.confidence for word in segment.words if word.confidence is not None]
    logprob = sum(math.log(max(p, 1e-6)) for p in sure) / len(sure) if sure else 0.0
    content = text.encode("utf-8")
    times: Tuple[float, float] = (round(segment.start, 3), round(segment.end, 3))
    return {
        "id": number,
        "seek": 0,
        "start": times[0],
        "end": times[1],
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(logprob, 4),
        "compression_ratio": round(len(content) / len(zlib.compress(content)), 4),
        "no_speech_prob": 0.0,
    }
