"""Errors of the HTTP interface, in the form that OpenAI's clients know."""

from typing import Any, Dict, Optional

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from utils.core.errors import printable

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
PHRASES = {404: "there is no such path", 405: "this path does not know this method"}


class Problem(Exception):
    """A request that can't be answered."""

    def __init__(self, status: int, code: str, message: str, param: Optional[str] = None) -> None:
        """Args: code: a word for programs; message: a sentence for people; param: what of the request is wrong."""
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, printable(message), param

    def response(self) -> JSONResponse:
        """As it is sent."""
        kind = KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        error: Dict[str, Any] = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "2"}, 503: {"Retry-After": "10"}}
        return JSONResponse({"error": error}, self.status, headers.get(self.status))


async def of_problem(request: Request, error: Exception) -> JSONResponse:
    """The answer to a Problem; it is counted."""
    assert isinstance(error, Problem)
    request.app.state.serving.metrics.errors.labels(error.code).inc()
    return error.response()


async def of_http_exception(request: Request, error: Exception) -> JSONResponse:
    """The answer to what starlette refuses."""
    assert isinstance(error, HTTPException)
    message = PHRASES.get(error.status_code, str(error.detail))
    codes = {404: "not_found", 405: "method_not_allowed"}
    return await of_problem(request, Problem(error.status_code, codes.get(error.status_code, "bad_request"), message))


async def of_failure(request: Request, error: Exception) -> JSONResponse:
    """The answer where the server itself failed; the log has the error."""
    return await of_problem(request, Problem(500, "internal", "the server failed at this request; its log says why"))
