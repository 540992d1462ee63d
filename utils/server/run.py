"""Runs the server: sockets, TLS, signals, and clients that uvicorn alone would leave too much room."""

import asyncio
import logging
import os
import resource
import socket
import ssl
from pathlib import Path
from typing import Any, List, Optional

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from utils.core.errors import UserError

log = logging.getLogger("nuptse")
PIECE = 4096  # bytes that are parsed before other clients have their turn
SENT = 64 * 1024  # bytes that the kernel and the server each keep for a client that does not read
PATIENCE = 15.0  # seconds from a connection to its request, and from the end of a session to that of its connection
OPEN_FILES = 4096  # connections, mostly


class Requests(H11Protocol):
    """HTTP, without connections that ask for nothing."""

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self._asks = self.loop.call_later(PATIENCE, self._silent)

    def _silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing() and self in self.connections:
            self.transport.abort()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """It left."""
        self._asks.cancel()
        super().connection_lost(exc)


class Messages(WebSocketsSansIOProtocol):
    """WebSockets, where a flood of tiny messages, or a client that does not read, costs the others nothing."""

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self._waiting, self._parsing = bytearray(), False
        transport.set_write_buffer_limits(high=SENT)
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)

    def data_received(self, data: bytes) -> None:
        """Parse a piece now, and the others in turns, when the session has taken the messages of the one before."""
        self._waiting += data
        self._parse_soon()

    def _parse_soon(self) -> None:
        if self._waiting and not self._parsing and not self.read_paused:
            self._parsing = True
            self.loop.call_soon(self._parse)

    def _parse(self) -> None:
        self._parsing = False
        piece = bytes(self._waiting[:PIECE])
        del self._waiting[:PIECE]
        if piece and not self.disconnected:
            super().data_received(piece)
            self._parse_soon()

    async def receive(self) -> Any:
        """A message for the session."""
        message = await super().receive()
        self._parse_soon()
        return message

    async def send(self, message: Any) -> None:
        """A message of the session."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # refused: otherwise uvicorn logs that there was no answer

    async def run_asgi(self) -> None:
        """The session, after which nothing of the connection stays."""
        extensions: Any = self.scope["extensions"]
        extensions["abort"] = self.transport.abort
        await super().run_asgi()
        self.loop.call_later(PATIENCE, self.transport.abort)


class Server(uvicorn.Server):
    """A server that ends gracefully at a first signal, and at once at a second."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        """address: that clients use, http://..."""
        super().__init__(config)
        self.address, self._ending = address, False

    async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
        """Begin, and say where."""
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        if self.started:
            print(f"serving {self.address}", flush=True)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal came."""
        if self._ending:
            os._exit(128 + sig)
        self._ending = True
        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._end()))

    async def _end(self) -> None:
        serving = self.config.app.state.serving  # type: ignore[union-attr]
        if not await serving.drain():
            log.warning("ended before %d sessions and %d files were finished", len(serving.sessions), serving.files)
            os._exit(1)
        self.should_exit = True


def bound(host: str, port: int, options: str = "--host and --port name") -> socket.socket:
    """A socket that listens. Raises UserError where it can't; options: what names another address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"can't listen on {host}, port {port}: {why}; {options} another address") from None


def secured(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS by a certificate and its key, both PEM. Raises UserError where they can't be used."""

    def ask() -> str:
        raise UserError(f"the key {key} is encrypted, and there is nobody to ask; give one without a passphrase")

    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise UserError(f"{path} can't be read: {'no permission' if path.exists() else 'there is no such file'}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, ask)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UserError(f"{certificate} and {key} are no certificate and its key, both PEM: {error}") from None
    return context


def server_of(app: Starlette, listening: socket.socket, tls: Optional[ssl.SSLContext] = None) -> Server:
    """A server that is ready to `run`."""
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    limits = app.state.serving.limits
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=Requests,
        ws=Messages,
        ws_max_size=4 * limits.message_bytes,  # above `message_bytes` a session says it; above this, the WebSocket alone
        ws_per_message_deflate=False,
        ws_ping_timeout=60.0,  # a phone may sleep; who sends nothing is ended as idle before
        lifespan="on",
        log_config=None,
        access_log=False,  # a query may have a token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )
    host, port = listening.getsockname()[:2]
    address = f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
    return Server(config, address)


def serve(app: Starlette, listening: socket.socket, tls: Optional[ssl.SSLContext] = None) -> None:
    """Serve until SIGTERM or Ctrl-C, and print the address in one line as soon as clients may come."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    server_of(app, listening, tls).run([listening])
