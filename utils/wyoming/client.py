"""One client of the Wyoming protocol: what there is, audio, and transcripts while they grow."""

import asyncio
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional, Set, Type

import numpy as np
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioFormat, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event as Message
from wyoming.event import async_read_event, async_write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.ping import Ping, Pong

from utils.core.errors import UserError
from utils.core.languages import family
from utils.live.events import Command, Ended, Event, Failed, Final, Partial
from utils.server.outbox import Full, Outbox
from utils.server.protocol import HIGHEST, LOWEST, Refused
from utils.server.shared import Shared
from utils.text.letters import joined
from utils.watching.watch import Asked

NAME = "nuptse"
SAMPLES = {1: ("u1", 128, 128.0), 2: ("<i2", 0, 32768.0), 4: ("<i4", 0, 2.0**31)}  # bytes -> type, zero, full scale
LAST_WORDS = 60.0  # seconds that a transcript may take once no more audio comes


def about(live: Any) -> Info:
    """What `describe` is answered."""
    manifest = live.manifest
    maker = Attribution("Nuptse", "")
    model = AsrModel(
        f"{manifest.corpus}-{manifest.recipe}",
        maker,
        installed=True,
        description=f"{manifest.corpus}, {manifest.recipe}",
        version=manifest.model or None,
        languages=[live.language],
    )
    program = AsrProgram(
        NAME, maker, True, "Nuptse: words are recognised by their vectors", None, [model], supports_transcript_streaming=True
    )
    return Info(asr=[program])


class Client:
    """One connection: one transcript after another."""

    def __init__(self, reader: Any, writer: asyncio.StreamWriter, serving: Shared) -> None:
        self.reader, self.writer, self.serving, self.limits = reader, writer, serving, serving.limits
        self.touched = time.monotonic()
        self.stream: Any = None
        self._format: Optional[AudioFormat] = None
        self._rest = b""  # of a sample that is not complete
        self._heard = 0.0  # seconds
        self._sending: Optional["asyncio.Task[None]"] = None
        self._why: Optional[Refused] = None  # why it ends after its transcript
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Everything, until the client leaves."""
        while True:
            reading = asyncio.ensure_future(self._read())
            waited: Set[Any] = {reading} | ({self._sending} if self._sending else set())
            try:
                while not reading.done():
                    done, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    for one in done - {reading}:
                        one.result()  # what stopped the transcript
                        if self._why is not None:
                            raise self._why
            finally:
                reading.cancel()
            message = reading.result()
            if message is None:
                return
            await self._take(message)

    def end(self, why: Refused) -> None:
        """Take no more audio; the client gets its transcript, then the reason."""
        if self._why is None and self.stream is not None:
            self._why = why
            self.stream.finish()

    def tell(self, text: str) -> None:
        """Wyoming has no event for changes of the vocabulary."""

    def leave(self) -> None:
        """Nothing is sent any more."""
        if self.stream is not None:
            self.stream.cancel()
        if self._sending is not None:
            self._sending.cancel()
        self.serving.sessions.discard(self)

    async def send(self, message: Any) -> None:
        """Send a message to a client that reads it in time."""
        await asyncio.wait_for(async_write_event(message.event(), self.writer), self.limits.send_seconds)

    async def _read(self) -> Optional[Message]:
        try:
            message = await async_read_event(self.reader)
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise Refused("bad_message", "the connection ended within a message") from None
            return None
        except (AttributeError, KeyError, TypeError, RecursionError):
            message = None
        if message is None or not isinstance(message.data, dict) or not isinstance(message.type, str):
            raise Refused("bad_message", 'a message is a line of JSON with a "type", then its data and its payload')
        return message

    async def _take(self, message: Message) -> None:
        """What a client says; unknown messages have no effect, as the protocol wants it."""
        self.touched = time.monotonic()
        if Describe.is_type(message.type):
            await self.send(about(self.serving.live))
        elif Ping.is_type(message.type):
            await self.send(Pong(Ping.from_event(message).text))
        elif Transcribe.is_type(message.type):
            self._check(Transcribe.from_event(message))
        elif AudioStart.is_type(message.type):
            self._start(_read_as(AudioStart, message))
        elif AudioChunk.is_type(message.type):
            self._audio(_read_as(AudioChunk, message))
        elif AudioStop.is_type(message.type):
            await self._stop()

    def _check(self, asked: Transcribe) -> None:
        live = self.serving.live
        if asked.language and family(str(asked.language)) != family(live.language):
            raise Refused("bad_message", f"language {asked.language!s:.20}: this server recognises '{live.language}' alone")
        names = {NAME, *(model.name for program in about(live).asr for model in program.models)}
        if asked.name and asked.name not in names:
            raise Refused("bad_message", f"there is no model '{asked.name!s:.60}': there is {', '.join(sorted(names))}")

    def _start(self, form: AudioFormat) -> None:
        if self.stream is not None:
            raise Refused("bad_message", "audio-start came twice, without an audio-stop between")
        for name, value, good in (
            ("rate", form.rate, LOWEST <= form.rate <= HIGHEST),
            ("width", form.width, form.width in SAMPLES),
            ("channels", form.channels, 1 <= form.channels <= 32),
        ):
            if not good:
                raise Refused("bad_message", f"audio can't have {name} {value}")
        self.serving.check_open()
        if len(self.serving.sessions) >= self.limits.sessions:
            raise Refused("too_many_sessions", f"all {self.limits.sessions} sessions are taken; try again later")
        self._format, self._rest, self._heard = form, b"", 0.0
        outbox = Outbox(self.limits.unsent)

        def put(event: Event) -> None:
            try:
                outbox.put(event)
            except Full:
                self.end(Refused("too_slow", "this client does not read what is sent to it"))

        def said(event: Event) -> None:  # in a thread of the recogniser
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(put, event)

        watching = self.serving.watching  # whoever wakes is on the other side
        wanted = watching.asked(keywords=None, wake=None) if watching.usual.grammar else Asked()
        self.stream = watching.stream(form.rate, said, wanted)
        self.serving.sessions.add(self)
        self.serving.metrics.started.inc()
        self._sending = asyncio.ensure_future(self._send_all(outbox))

    def _audio(self, chunk: AudioChunk) -> None:
        if self.stream is None:
            self._start(chunk)
        assert self._format is not None
        form = self._format
        if (chunk.rate, chunk.width, chunk.channels) != (form.rate, form.width, form.channels):
            raise Refused("bad_message", "the format of an audio-chunk differs from that of the audio before")
        content, size = self._rest + chunk.audio, form.width * form.channels
        whole = len(content) // size * size
        self._rest = content[whole:]
        kind, zero, scale = SAMPLES[form.width]
        samples = (np.frombuffer(content[:whole], kind).astype(np.float32) - zero) / scale
        mixed = samples.reshape(-1, form.channels).mean(1, dtype=np.float32)
        seconds = len(mixed) / form.rate
        self._heard += seconds
        self.serving.metrics.hear("stream", seconds)
        if self._why is None:
            with suppress(UserError):  # the stream failed, and says so
                self.stream.accept(mixed)
        if self._heard > self.limits.session_seconds:
            self.end(Refused("too_long", f"a session has at most {self.limits.session_seconds:g} s of audio; start another"))
        if self.stream.backlog > self.limits.backlog_seconds:
            raise Refused("too_fast", f"more than {self.limits.backlog_seconds:g} s of audio wait to be recognised")

    async def _stop(self) -> None:
        """The audio is complete: wait for the transcript."""
        if self.stream is None or self._sending is None:
            raise Refused("bad_message", "audio-stop came without audio")
        self.stream.finish()
        try:
            await asyncio.wait_for(self._sending, LAST_WORDS)
        except asyncio.TimeoutError:
            raise Refused("internal", f"the transcript did not come within {LAST_WORDS:g} s") from None
        if self._why is not None:
            raise self._why

    async def _send_all(self, outbox: Outbox) -> None:
        """The transcript while it grows, then whole.

        Chunks can't be taken back, so of a segment that is still spoken they have only words that are stable.
        """
        language = self.serving.live.language
        await self.send(TranscriptStart(language=language))
        said: List[str] = []  # words that were sent
        final: Dict[int, List[str]] = {}  # of all finished segments
        before = 0  # words that were sent of those segments

        async def grow(words: List[str]) -> None:
            if words:
                text = joined([*said, *words])[len(joined(said)) :]
                said.extend(words)
                await self.send(TranscriptChunk(text))

        while True:
            event = await outbox.get()
            if isinstance(event, Partial):
                await grow([word.text for word in event.words[: event.stable]][len(said) - before :])
            elif isinstance(event, Final):
                words = [word.text for word in event.transcript.words]
                await grow(words[len(said) - before :])
                final[event.segment], before = words, len(said)
            elif isinstance(event, Command) and event.intent is not None:
                final[event.segment] = event.text.split()
            elif isinstance(event, Failed) and event.segment < 0:
                raise Refused("internal", event.message)
            elif isinstance(event, Failed):
                await self.send(Error(event.message, "failed"))
            elif isinstance(event, Ended):
                break
        words = [word for segment in sorted(final) for word in final[segment]]
        await self.send(Transcript(joined(words), language=language))
        await self.send(TranscriptStop())
        self.stream, self._sending = None, None
        self.serving.sessions.discard(self)


def _read_as(kind: Type[Any], message: Message) -> Any:
    """A message with audio or its format."""
    try:
        read = kind.from_event(message)
        if not all(type(value) is int for value in (read.rate, read.width, read.channels)):
            raise TypeError
    except (KeyError, TypeError):
        raise Refused("bad_message", f"{message.type} needs rate, width and channels, whole numbers") from None
    return read
