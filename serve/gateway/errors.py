"""All errors are sent in one shape, with the request's id, and contain nothing that the client may not see."""

from __future__ import annotations

import logging
import uuid

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.storage.store_errors import is_out_of_space, storage_error
from schemas.api.errors import error_body, problem_body
from schemas.api.parsing import validation_error
from schemas.errors import FluxionsError, InvalidRequest, MethodNotAllowed, NotFound
from serve.gateway.http_methods import allowed
from telemetry.log_lines import within_request
from telemetry.metrics import ERRORS, as_label
from telemetry.traces import pass_on

logger = logging.getLogger(__name__)

_PROBLEM = "application/problem+json"
_HEADER = "x-request-id"


class RequestIds:
    """Middleware: assigns each request an id and returns it in ``X-Request-Id``. A valid id of the client is used.

    The response of a traced request has the ``traceparent`` of its span. Ray Serve sets ``X-Request-Id`` on requests
    without an id and on every response; then the header is not set a second time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(_HEADER, "")
        answer_with_id = not sent
        request_id = sent if 0 < len(sent) <= 64 and sent.isascii() and sent.isprintable() else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {}).update(request_id=request_id, answer_with_id=answer_with_id)

        async def send_with_id(message: Message) -> None:
            if answer_with_id and message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_HEADER] = request_id
            if message["type"] == "http.response.start":
                pass_on(MutableHeaders(scope=message))
            await send(message)

        with within_request(request_id):
            await self._app(scope, receive, send_with_id)


def count_from_zero(code: str) -> None:
    """Show the count of a code before its first error, because an alert sees no increase in a series that begins at 1."""
    ERRORS.labels(code)


def respond(request: Request, error: FluxionsError) -> Response:
    """The response for ``error``, as our own JSON or as RFC 9457, with its headers."""
    ERRORS.labels(as_label(error.code)).inc()
    request_id, headers = getattr(request.state, "request_id", ""), headers_of(error)
    if _PROBLEM in request.headers.get("accept", ""):
        return JSONResponse(
            problem_body(error, request_id).model_dump(), error.status, headers=headers, media_type=_PROBLEM
        )
    return JSONResponse(error_body(error, request_id).model_dump(), error.status, headers=headers)


def headers_of(error: FluxionsError) -> dict[str, str]:
    """The headers of the response for ``error``."""
    headers = dict(error.headers)
    if error.retry_after_secs is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_secs)))
        # OpenAI's clients read these two headers. Without them the clients decide by a list of statuses.
        headers["retry-after-ms"] = str(max(1, round(error.retry_after_secs * 1000)))
    headers["x-should-retry"] = str(error.retryable).lower()
    if error.status == 401:
        headers["WWW-Authenticate"] = 'ApiKey realm="fluxions"'
    return headers


async def refuse_handshake(socket: WebSocket, error: FluxionsError) -> bool:
    """Answer the handshake of a socket with the error's status, headers and body; False if the server cannot."""
    if "websocket.http.response" not in socket.scope.get("extensions", {}):
        return False
    body = error_body(error, f"req_{uuid.uuid4().hex}").model_dump()
    await socket.send_denial_response(JSONResponse(body, error.status, headers=headers_of(error)))
    return True


def unexpected(request: Request) -> Response:
    """The response for an unexpected error."""
    return respond(request, FluxionsError("an internal error occurred; the request id helps to find its cause"))


def _with_id(request: Request, response: Response) -> Response:
    """The response with the request's id: the handler of unexpected errors runs outside our middleware."""
    if getattr(request.state, "answer_with_id", False):
        response.headers[_HEADER] = request.state.request_id
    return response


def _wrong_type(request: Request, error: RequestValidationError) -> FluxionsError | None:
    """The error for a body that FastAPI did not parse as JSON because of its media type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    is_json = kind.lower() == "application/json" or kind.lower().endswith("+json")
    if is_json or not any(tuple(one["loc"]) == ("body",) and one["type"] != "missing" for one in error.errors()):
        return None
    return InvalidRequest(
        f"the body came as {kind[:80] or 'no type'}; send JSON with `Content-Type: application/json`", code="not_json"
    )


def install(app: FastAPI) -> None:
    """Register the handlers that send every failure of ``app`` in this shape."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, FluxionsError)  # noqa: S101 - registered for this class only
        return respond(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
        return respond(request, _wrong_type(request, error) or validation_error(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        if isinstance(error.__cause__, FluxionsError):
            return respond(request, error.__cause__)  # FastAPI wraps errors that end the reading of a body
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return respond(request, NotFound(f"there is no {request.url.path} here; see /docs", code="unknown_route"))
        if status == 405:
            refusal = respond(request, MethodNotAllowed(f"{request.url.path} has no method {request.method}; see /docs"))
            refusal.headers["Allow"] = ", ".join(allowed(request.app, request.scope))
            return refusal
        return respond(request, InvalidRequest("the request could not be read"))

    async def unknown(request: Request, error: Exception) -> Response:
        if is_out_of_space(error):
            return _with_id(request, respond(request, storage_error(error, "the gateway's disk")))
        logger.error("unexpected %s on %s %s", type(error).__name__, request.method, request.url.path, exc_info=error)
        return _with_id(request, unexpected(request))

    app.add_exception_handler(FluxionsError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unknown)
    app.add_middleware(RequestIds)
