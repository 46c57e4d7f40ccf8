"""Every error leaves in one shape, with the request's id; nothing a client did not send or may not see is in it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.api.errors import error_body, problem_body
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest, MethodNotAllowed, NotFound

logger = logging.getLogger(__name__)

_PROBLEM = "application/problem+json"
_HEADER = "x-request-id"


class RequestIds:
    """Gives each request an id, the client's own if it sent a sane one, and returns it in ``X-Request-Id``.

    Ray Serve sets the header on requests that come without one, and on every answer; then it is not set twice.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(_HEADER, "")
        answer_with_id = not sent
        request_id = sent if 0 < len(sent) <= 64 and sent.isascii() and sent.isprintable() else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {}).update(request_id=request_id, answer_with_id=answer_with_id)

        async def send_with_id(message: Message) -> None:
            if answer_with_id and message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def respond(request: Request, error: FluxionsError) -> Response:
    request_id = getattr(request.state, "request_id", "")
    headers = {}
    if error.retry_after_secs is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_secs)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'ApiKey realm="fluxions"'
    if _PROBLEM in request.headers.get("accept", ""):
        return JSONResponse(
            problem_body(error, request_id).model_dump(), error.status, headers=headers, media_type=_PROBLEM
        )
    return JSONResponse(error_body(error, request_id).model_dump(), error.status, headers=headers)


def validation_error(errors: Sequence[Any]) -> FluxionsError:
    """The first of Pydantic's errors in our words, with the field it names."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("the body is not JSON; check quotes and commas", code="invalid_json")
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(where) or str(first["loc"][0])
    return InvalidParameter(f"{param}: {first['msg'][0].lower()}{first['msg'][1:]}", param=param)


def install(app: FastAPI) -> None:
    """Register the handlers that turn every failure of ``app`` into the one shape."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, FluxionsError)  # noqa: S101 - registered for this class only
        return respond(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
        return respond(request, validation_error(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return respond(request, NotFound(f"there is no {request.url.path} here; see /docs", code="unknown_route"))
        if status == 405:
            return respond(request, MethodNotAllowed(f"{request.method} does not work on {request.url.path}; see /docs"))
        return respond(request, InvalidRequest("the request could not be read"))

    async def unknown(request: Request, error: Exception) -> Response:
        logger.error("unexpected %s on %s %s", type(error).__name__, request.method, request.url.path, exc_info=error)
        response = respond(request, FluxionsError("something broke on our side; the request id helps to find it"))
        # This handler answers from outside our middleware.
        if getattr(request.state, "answer_with_id", False):
            response.headers[_HEADER] = request.state.request_id
        return response

    app.add_exception_handler(FluxionsError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unknown)
    app.add_middleware(RequestIds)
