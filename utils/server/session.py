"""One WebSocket: a client's audio goes into a stream, and what the stream says goes to the client."""

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from typing import Any, Dict, Optional, Set

from starlette.websockets import WebSocket, WebSocketDisconnect

from utils.core.errors import UserError
from utils.live.events import Command, Ended, Event, Failed, Final, Keyword, Partial
from utils.server.metrics import Arrivals
from utils.server.outbox import Full, Outbox
from utils.server.protocol import (
    CLOSES,
    WISHES,
    Messages,
    Refused,
    Samples,
    check_wishes,
    encoded,
    error_message,
    found_message,
    message_of,
    refused_message,
    start_of,
)
from utils.server.shared import Shared
from utils.watching.watch import Asked
from utils.watching.watching import CantFind

log = logging.getLogger("nuptse")
MESSAGE_SECONDS = 0.0001  # a client's messages are read at this pace in the long run, so that a flood of tiny ones takes no core
BURST = 0.02  # seconds of such messages that are read at once
LAST_WORDS = 60.0  # seconds that a stream has for its finals, once no more audio comes


class Gone(Exception):
    """The client left."""


class Session:
    """From a client's start to the end of its stream."""

    def __init__(self, socket: WebSocket, serving: Shared) -> None:
        self.socket, self.serving, self.limits = socket, serving, serving.limits
        self.name = secrets.token_hex(6)
        self.stream: Any = None
        self.touched = time.monotonic()  # when the last message came
        self._outbox = Outbox(self.limits.unsent)
        self._messages, self._arrivals = Messages(), Arrivals()
        self._heard, self._began = 0.0, 0.0  # seconds of audio received, and when the first came
        self._samples: Optional[Samples] = None
        self._rate, self._partials = 0, True
        self._wishes: Dict[str, Any] = {}
        self._turn = asyncio.Lock()  # of searches and of changes of the keywords
        self._tasks: "Set[asyncio.Task[None]]" = set()  # of these
        self._late: Optional[asyncio.TimerHandle] = None
        self._why: Optional[Refused] = None  # what the client is told after its finals
        self._finished = False  # no more audio is taken
        self._broken: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Everything, until the socket is closed."""
        self.serving.opening += 1
        try:
            await self._start()
        except Refused as error:
            await refuse(self.socket, self.serving, error)
            return
        except UserError as error:
            await refuse(self.socket, self.serving, Refused("internal", str(error)))
            return
        except Gone:
            return
        finally:
            self.serving.opening -= 1
        sender = asyncio.create_task(self._send_all())
        reader = asyncio.create_task(self._read_all())
        try:
            waited: Set["asyncio.Future[None]"] = {sender, reader, self._broken}
            while sender in waited:
                done, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
        except Refused as error:
            self.stream.cancel()
            await refuse(self.socket, self.serving, error)
        except Gone:
            self.stream.cancel()
        except Exception:
            self.stream.cancel()
            log.exception("session %s", self.name)
            await refuse(self.socket, self.serving, Refused("internal", "the server failed at this session; its log says why"))
        finally:
            self.serving.sessions.discard(self)
            if self._late is not None:
                self._late.cancel()
            tasks = (sender, reader, self._broken, *self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self, why: Refused) -> None:
        """Take no more audio; the client gets its finals, then the reason."""
        if not self._finished:
            self._why = why
            self._finish()

    def tell(self, text: str) -> None:
        """Send a message besides what the stream says, as JSON."""
        self._put(text)

    async def _start(self) -> None:
        serving = self.serving
        serving.check_open()
        try:
            message = await asyncio.wait_for(self.socket.receive(), self.limits.send_seconds)
        except asyncio.TimeoutError:
            raise Refused("idle", f"no start came within {self.limits.send_seconds:g} s") from None
        if message["type"] == "websocket.disconnect":
            self._left(message)
        if message.get("text") is None:
            raise Refused("bad_message", 'audio came before the start: the first message must be {"type":"start","rate":16000}')
        self._check_size(message["text"])
        asked = start_of(message["text"], self.limits, serving.watching.names)
        wanted = await self._wanted(asked.wishes)
        serving.check_open()
        if len(serving.sessions) >= self.limits.sessions:
            raise Refused("too_many_sessions", f"all {self.limits.sessions} sessions are taken; try again later")
        self._rate, self._partials, self._samples = asked.rate, asked.partials, Samples(asked.rate)
        self._wishes = asked.wishes
        self.stream = serving.watching.stream(asked.rate, self._event, wanted)
        serving.sessions.add(self)
        serving.metrics.started.inc()
        self.touched = time.monotonic()
        about = {"session": self.name, "rate": asked.rate, **_shown(wanted), **serving.about()}
        self.tell(encoded({"type": "ready", **about}))

    async def _read_all(self) -> None:
        """Take the client's messages, until it leaves."""
        ahead = time.monotonic()
        while True:
            message = await self.socket.receive()
            now = self.touched = time.monotonic()
            if message["type"] == "websocket.disconnect":
                self._left(message)
            data = message.get("bytes")
            if data is not None:
                self._audio(data, now)
            else:
                self._check_size(message["text"])
                said = message_of(message["text"])
                if said["type"] == "finish":
                    self._finish()
                else:
                    self._begin(said)
            ahead = max(ahead, now) + MESSAGE_SECONDS
            if ahead - now > BURST:
                await asyncio.sleep(ahead - now)

    def _audio(self, data: bytes, now: float) -> None:
        self._check_size(data)
        if self._finished:
            if self._why is None:
                raise Refused("bad_message", "audio came after the finish")
            return  # it was on its way when the server ended the session
        assert self._samples is not None
        samples = self._samples.push(data)
        if samples is None:
            return
        self._take(samples, now)
        if self._heard > self.limits.session_seconds:
            self.end(Refused("too_long", f"a session has at most {self.limits.session_seconds:g} s of audio; start another"))
        waiting = self.stream.backlog
        if waiting > self.limits.backlog_seconds:
            said = f"{waiting:.0f} s of audio wait to be recognised, and at most {self.limits.backlog_seconds:g} may"
            if self._heard > now - self._began + self.limits.backlog_seconds / 2:
                raise Refused("too_fast", f"{said}: send a recording at the speed at which it is heard, or by HTTP")
            raise Refused("overloaded", f"{said}: the server has too much to do; try again later")

    def _take(self, samples: Any, now: float) -> None:
        if not self._heard:
            self._began = now
        seconds = len(samples) / self._rate
        self._heard += seconds
        self._arrivals.add(self._heard, now)
        self.serving.metrics.hear("stream", seconds)
        with suppress(UserError):  # the stream failed, and says so
            self.stream.accept(samples)

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        assert self._samples is not None
        rest = self._samples.rest()
        if len(rest):
            self._take(rest, time.monotonic())
        self.stream.finish()
        late = Refused("internal", f"the finals did not come within {LAST_WORDS:g} s")
        self._late = self._loop.call_later(LAST_WORDS, self._break, late)

    async def _wanted(self, wishes: Dict[str, Any]) -> Asked:
        """What the stream is to be watched for. Raises Refused for what can't be."""
        watching = self.serving.watching
        if not wishes and not watching.names and not watching.usual.grammar:
            return Asked()
        try:
            return await self._loop.run_in_executor(None, lambda: watching.asked(**wishes))
        except UserError as error:
            unknown = wishes.get("grammar") is not None and wishes["grammar"] not in watching.grammars
            raise Refused("unknown_grammar" if unknown else "bad_keywords", str(error)) from None

    def _begin(self, said: Dict[str, Any]) -> None:
        """Search, or change the keywords, beside the audio, one after another."""
        if len(self._tasks) >= self.limits.queries:
            waits = f"{self.limits.queries} searches and changes of this session wait already"
            self._refuse(said, Refused("too_many_queries", waits))
            return
        task = asyncio.ensure_future(self._do(said))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, said: Dict[str, Any]) -> None:
        try:
            async with self._turn:
                await (self._find(said) if said["type"] == "find" else self._change(said))
        except Refused as error:
            self._refuse(said, error)
        except Exception:
            log.exception("session %s", self.name)
            self._refuse(said, Refused("internal", "the server failed at this message; its log says why"))

    async def _change(self, said: Dict[str, Any]) -> None:
        """Look for other keywords from now on."""
        watching = self.serving.watching
        wishes = {**self._wishes, **{name: value for name, value in said.items() if name in WISHES}}
        check_wishes(wishes, self.limits, watching.names)
        wanted = await self._wanted(wishes)
        self._wishes = wishes
        watching.change(self.stream, wanted)
        self.tell(encoded({"type": "keywords", "keywords": _shown(wanted)["keywords"]}))

    async def _find(self, said: Dict[str, Any]) -> None:
        """Search what was said so far."""
        query, most, began = said.get("query"), self.limits.query_characters, time.monotonic()
        if not isinstance(query, str) or not query.strip():
            raise Refused("bad_query", "the query must be a text: words that somebody may have said")
        if len(query) > most:
            raise Refused("bad_query", f"a query of {len(query)} characters is too long: it may have {most}")
        try:
            since, hits = await self._loop.run_in_executor(None, self.serving.watching.find, self.stream, query)
        except CantFind as error:
            raise Refused(error.code, str(error)) from None
        self.serving.metrics.finding.observe(time.monotonic() - began)
        self.tell(encoded(found_message(said, hits, since)))

    def _refuse(self, said: Dict[str, Any], error: Refused) -> None:
        """Tell the client that a message of it was refused; its session goes on."""
        self.serving.metrics.errors.labels(error.code).inc()
        self.tell(encoded(refused_message(said, error)))

    def _check_size(self, data: Any) -> None:
        if len(data) > self.limits.message_bytes:
            most = self.limits.message_bytes
            raise Refused("too_big", f"this message has {len(data)} bytes, and one may have {most}; send audio in smaller parts")

    def _left(self, message: Any) -> None:
        if message.get("code") == 1009:  # far too big: refused before it was read
            self.serving.metrics.errors.labels("too_big").inc()
        raise Gone

    def _event(self, event: Event) -> None:
        """What the stream says; in its thread."""
        if self._partials or not isinstance(event, Partial):
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, item: Any) -> None:
        try:
            self._outbox.put(item)
        except Full:
            self._break(Refused("too_slow", f"{self.limits.unsent} messages wait for this client, which does not read them"))

    def _break(self, error: Refused) -> None:
        """End the session at once."""
        if not self._broken.done():
            self._broken.set_exception(error)

    async def _send_all(self) -> None:
        """Send what there is, to the end of the stream."""
        while True:
            item = await self._outbox.get()
            if isinstance(item, Failed) and item.segment < 0:
                raise Refused("internal", item.message)
            await self._send(item if isinstance(item, str) else encoded(self._messages.of(item)))
            self._measure(item, time.monotonic())
            if isinstance(item, Ended):
                await self._close()
                return

    def _measure(self, item: Any, now: float) -> None:
        metrics = self.serving.metrics
        metrics.messages.labels("other" if isinstance(item, str) else type(item).__name__.lower()).inc()
        if isinstance(item, Partial):
            metrics.delays.labels("partial").observe(now - self._arrivals.at(item.heard))
        elif isinstance(item, Final):
            metrics.delays.labels("final").observe(now - self._arrivals.at(item.end))
        elif isinstance(item, Keyword):
            metrics.keywords.inc()
            metrics.delays.labels("keyword").observe(now - self._arrivals.at(item.end))
        elif isinstance(item, Command):
            metrics.commands.labels(item.intent or "none").inc()
            metrics.delays.labels("command").observe(now - self._arrivals.at(item.end))

    async def _send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self.socket.send_text(text), self.limits.send_seconds)
        except asyncio.TimeoutError:
            raise Refused("too_slow", f"this client read nothing for {self.limits.send_seconds:g} s") from None
        except (RuntimeError, WebSocketDisconnect):
            raise Gone from None

    async def _close(self) -> None:
        if self._why is not None:
            await refuse(self.socket, self.serving, self._why)
        else:
            with suppress(RuntimeError, WebSocketDisconnect):
                await self.socket.close(1000)


def _shown(wanted: Asked) -> Dict[str, Any]:
    """What a stream is watched for, for its client."""
    keywords = [] if wanted.spotter is None else [keyword.name for keyword in wanted.spotter.keywords]
    about = {"keywords": keywords, "grammar": wanted.grammar or None, "wake": wanted.wake or None}
    return {**about, "find": bool(wanted.minutes)}


async def refuse(socket: WebSocket, serving: Shared, error: Refused) -> None:
    """Send an error, and close."""
    serving.metrics.errors.labels(error.code).inc()
    try:
        if error.code != "too_slow":
            await asyncio.wait_for(socket.send_text(encoded(error_message(error))), 1.0)
        await asyncio.wait_for(socket.close(CLOSES[error.code], error.code), 1.0)
    except Exception:  # it left, or does not read
        abort = socket.scope.get("extensions", {}).get("abort")
        if abort is not None:
            abort()
