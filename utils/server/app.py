"""The server: streams over WebSockets, files, words, what it counts, and its page. docs/serving.md describes it."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncContextManager, AsyncIterator, Callable, Optional, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from utils.core.files import ROOT
from utils.live.live import Live
from utils.server.access import Access
from utils.server.files import Files
from utils.server.limits import Limits
from utils.server.metrics import CONTENT_TYPE
from utils.server.problems import Problem, of_failure, of_http_exception, of_problem
from utils.server.protocol import Refused
from utils.server.session import Session, refuse
from utils.server.shared import Shared
from utils.server.words import Words
from utils.watching.watching import Watching

PAGE = ROOT / "utils" / "live" / "page"
USUAL = Limits()
TICK = 0.25  # seconds between two looks at what is idle


class Serving(Shared):
    """A running server."""

    def __init__(self, live: Live, limits: Limits, watching: Optional[Watching] = None) -> None:
        super().__init__(live, limits, watching)
        self.transcriptions, self.words = Files(self), Words(self)

    async def watch(self) -> None:
        """End sessions of which nothing is heard, for as long as the server runs."""
        while True:
            await asyncio.sleep(TICK)
            now, most = time.monotonic(), self.limits.idle_seconds
            for session in list(self.sessions):
                if now - session.touched > most:
                    session.end(Refused("idle", f"nothing came for {most:g} s; send silence as audio, too"))

    async def drain(self) -> bool:
        """Take nothing new; running sessions get their finals, and files are finished. Whether `grace_seconds` were enough."""
        self.ending = True
        for session in list(self.sessions):
            session.end(Refused("shutting_down", "the server is ending; these were the last words"))
        deadline = time.monotonic() + self.limits.grace_seconds
        while (self.sessions or self.files or self.changes) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)  # the last messages are on their way
        return not (self.sessions or self.files or self.changes)


async def stream(socket: WebSocket) -> None:
    """WS /v1/stream."""
    serving: Serving = socket.app.state.serving
    await socket.accept()
    if serving.opening >= max(serving.limits.sessions, 64):
        await refuse(socket, serving, Refused("too_many_sessions", "too many connections are being opened; try again later"))
        return
    await Session(socket, serving).run()


async def health(request: Request) -> Response:
    """GET /healthz."""
    serving: Serving = request.app.state.serving
    state = "ending" if serving.ending else "ok" if serving.live.alive else "failed"
    about = {"status": state, "language": serving.live.language, "sessions": len(serving.sessions)}
    return JSONResponse(about, 200 if state == "ok" else 503)


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    return Response(request.app.state.serving.metrics.page(), media_type=CONTENT_TYPE)


async def left(request: Request, error: Exception) -> Response:
    """What nobody reads any more."""
    return Response(status_code=499)


async def page(request: Request) -> Response:
    """GET /."""
    return FileResponse(PAGE / "index.html")


def create_app(
    live: Live,
    limits: Limits = USUAL,
    tokens: Optional[Sequence[str]] = None,
    origins: Sequence[str] = (),
    local: bool = True,
    beside: Sequence[Callable[[Shared], AsyncContextManager[None]]] = (),
    watching: Optional[Watching] = None,
) -> Starlette:
    """The application.

    Args:
      live: started.
      tokens: of which a client needs one; None: everybody may use it.
      origins: of the web pages, besides its own, that may use it; "*" for all.
      local: whether only this machine reaches it.
      beside: what else runs with the server, on the same recogniser, such as clients of another protocol.
      watching: what looks for keywords and commands in the sessions; None: only what they name themselves.
    """
    serving = Serving(live, limits, watching)
    routes = [
        WebSocketRoute("/v1/stream", stream),
        Route("/v1/audio/transcriptions", serving.transcriptions.transcribe, methods=["POST"]),
        Route("/v1/words", serving.words.listed, methods=["GET"]),
        Route("/v1/words", serving.words.add, methods=["POST"]),
        Route("/v1/words/{word:path}", serving.words.remove, methods=["DELETE"]),
        Route("/healthz", health),
        Route("/metrics", metrics),
        Route("/", page),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(serving.watch())
        async with AsyncExitStack() as stack:
            for one in beside:
                await stack.enter_async_context(one(serving))
            yield
        watching.cancel()
        serving.transcriptions.close()
        serving.words.close()
        serving.watching.close()

    middleware = [Middleware(Access, tokens=tokens, origins=origins, local=local)]
    if origins:
        allowed: Any = {"allow_methods": ["GET", "POST", "DELETE"], "allow_headers": ["Authorization", "Content-Type"]}
        middleware.insert(0, Middleware(CORSMiddleware, allow_origins=list(origins), **allowed))
    handlers: Any = {Problem: of_problem, HTTPException: of_http_exception, ClientDisconnect: left, Exception: of_failure}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)
    app.state.serving = serving
    return app
