"""Who may use the server: tokens, and the web pages that may call it."""

import hashlib
import hmac
from pathlib import Path
from typing import List, Optional, Sequence
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from utils.core.errors import UserError
from utils.sealing.key_files import read_secret
from utils.server.problems import Problem
from utils.server.protocol import Refused
from utils.server.session import refuse

SHORTEST = 16  # characters of a token
OPEN = ("/", "/healthz")  # paths that need no token; so do those below /page/, which say nothing of the model
LOCAL = ("localhost", "127.0.0.1", "::1")


def read_tokens(path: Path) -> List[str]:
    """The tokens in a file, one a line; # begins a comment.

    Raises:
      UserError: others may read the file, it has none, or one that could be guessed.
    """
    lines = [line.strip() for line in read_secret(path).splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise UserError(f"the token file {path} has no token, so nobody could use the server; write one a line")
    for token in tokens:
        if len(token) < SHORTEST or not token.isascii() or any(c.isspace() for c in token):
            raise UserError(
                f"a token in {path} has fewer than {SHORTEST} characters, blanks, or letters besides ASCII; make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
    return tokens


def check_origin(origin: str) -> str:
    """An origin as browsers send it (https://name:port), or *. Raises UserError for another."""
    parts = urlsplit(origin)
    if origin != "*" and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query):
        raise UserError(f"--allow-origin {origin}: expected an origin as browsers send it, such as https://example.org, or *")
    return origin.lower()


class Access:
    """Refuses requests without a token, and those of other web pages. ASGI middleware.

    A page of another site could otherwise use a server on this machine through its visitor's browser. So an Origin must be the
    server's own, or allowed; and a server that only this machine reaches must be called by a name of this machine (a foreign name
    that leads here would make a foreign page look like its own).
    """

    def __init__(self, app: ASGIApp, tokens: Optional[Sequence[str]], origins: Sequence[str], local: bool) -> None:
        """Args: tokens: None for everybody; local: whether only this machine reaches the server."""
        self.app, self.origins = app, origins
        self.tokens = None if tokens is None else [_hash(token) for token in tokens]
        self.hosts = {*LOCAL, *(urlsplit(origin).hostname or "*" for origin in origins)} if local else {"*"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        problem = self._problem(scope) if scope["type"] in ("http", "websocket") else None
        if problem is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            scope["app"].state.serving.metrics.errors.labels(problem.code).inc()
            await problem.response()(scope, receive, send)
        else:
            socket = WebSocket(scope, receive, send)
            if problem.status == 403:
                scope["app"].state.serving.metrics.errors.labels(problem.code).inc()
                await socket.receive()
                await socket.send_denial_response(problem.response())
            else:  # a browser shows its page only what comes after the handshake
                await socket.accept()
                await refuse(socket, scope["app"].state.serving, Refused(problem.code, problem.message))

    def _problem(self, scope: Scope) -> Optional[Problem]:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        if "*" not in self.hosts and _name(host) not in self.hosts:
            names = "this server is called by the name localhost; --allow-origin admits another"
            return Problem(403, "foreign_host", names)
        if origin and "*" not in self.origins and origin not in self.origins and urlsplit(origin).netloc != host:
            return Problem(403, "foreign_origin", f"pages of {origin[:100]} may not use this server; --allow-origin admits them")
        if self.tokens is None or scope["path"] in OPEN or scope["path"].startswith("/page/"):
            return None
        found = _token(scope, headers)
        if not sum(hmac.compare_digest(_hash(found), token) for token in self.tokens):  # compared with all of them
            said = "a token is needed" if not found else "this token is wrong"
            return Problem(
                401, "unauthorised", f"{said}: send Authorization: Bearer TOKEN (a WebSocket may have ?token= instead)"
            )
        return None


def _token(scope: Scope, headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    if scope["type"] == "websocket":
        return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
    return ""


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _name(host: str) -> str:
    """A host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
