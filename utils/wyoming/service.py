"""Clients of the Wyoming protocol, by which Home Assistant talks to speech servers: https://github.com/OHF-Voice/wyoming."""

import asyncio
import logging
import socket
from contextlib import asynccontextmanager, suppress
from typing import Any, AsyncContextManager, AsyncIterator, Callable, Set
from urllib.parse import urlsplit

from wyoming.error import Error

from utils.core.errors import UserError
from utils.server.protocol import Refused
from utils.server.shared import Shared
from utils.wyoming.client import Client

log = logging.getLogger("nuptse")
LINE = 64 * 1024  # bytes of a message's first line
CONNECTIONS = 4  # for each session that may run: clients may also ask, or wait


def address_of(uri: str) -> "tuple[str, int]":
    """Host and port of tcp://HOST:PORT. Raises UserError for another."""
    parts = urlsplit(uri)
    with suppress(ValueError):  # a port that is none
        if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
            return parts.hostname, parts.port
    raise UserError(f"--wyoming {uri}: expected tcp://HOST:PORT, such as tcp://127.0.0.1:10300")


def at(listening: socket.socket) -> Callable[[Shared], AsyncContextManager[None]]:
    """What `create_app` runs beside its own sessions: Wyoming on a socket."""
    return lambda serving: Wyoming(serving).taking(listening)


class Wyoming:
    """The clients of one server; they share its recogniser, its limits and its end with the other sessions."""

    def __init__(self, serving: Shared) -> None:
        self.serving = serving
        self._clients: Set["asyncio.Task[None]"] = set()

    @asynccontextmanager
    async def taking(self, listening: socket.socket) -> AsyncIterator[None]:
        """Take clients for as long as the block lasts."""
        server = await asyncio.start_server(self._client, sock=listening, limit=LINE)
        host, port = listening.getsockname()[:2]
        log.info("serving Wyoming at tcp://%s:%d", f"[{host}]" if ":" in host else host, port)
        try:
            yield
        finally:
            server.close()
            for task in self._clients:
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        client = Client(_Bounded(reader, self.serving), writer, self.serving)
        try:
            if len(self._clients) > CONNECTIONS * self.serving.limits.sessions:
                raise Refused("too_many_sessions", "too many clients are connected; try again later")
            await client.run()
        except Refused as error:
            self.serving.metrics.errors.labels(error.code).inc()
            with suppress(OSError, asyncio.TimeoutError):
                await client.send(Error(error.message, error.code))
        except (OSError, EOFError, asyncio.TimeoutError):  # it left, or does not read
            pass
        finally:
            client.leave()
            self._clients.discard(task)
            writer.close()


class _Bounded:
    """What `async_read_event` reads from: no part of a message is larger or slower than the limits."""

    def __init__(self, reader: asyncio.StreamReader, serving: Shared) -> None:
        self.reader, self.limits = reader, serving.limits

    async def readline(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise Refused("too_big", f"the first line of a message has more than {LINE} bytes") from None

    async def readexactly(self, size: Any) -> bytes:
        if not isinstance(size, int) or size > self.limits.message_bytes:
            raise Refused("too_big", f"a message announces {size!r:.20} bytes, and one may have {self.limits.message_bytes}")
        try:
            return await asyncio.wait_for(self.reader.readexactly(size), self.limits.idle_seconds)
        except asyncio.TimeoutError:
            raise Refused("idle", f"a message did not come to its end within {self.limits.idle_seconds:g} s") from None
