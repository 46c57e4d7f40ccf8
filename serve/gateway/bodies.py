"""Requests whose body is read into memory or unpacked have a limit, held while the body arrives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from schemas.errors import FluxionsError, InvalidRequest, PayloadTooLarge


def bounded(limit: Callable[[Request], int]) -> type[APIRoute]:
    """A route class whose requests raise PayloadTooLarge as soon as their body is over the limit."""

    return type("BoundedRoute", (_BoundedRoute,), {"limit_bytes": staticmethod(limit)})


class _BoundedRoute(APIRoute):
    limit_bytes: ClassVar[Callable[[Request], int]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        limit = type(self).limit_bytes

        async def handle_bounded(request: Request) -> Response:
            most = limit(request)
            if int(request.headers.get("content-length") or 0) > most:
                raise _too_large(most)
            try:
                return await handle(Request(request.scope, _counted(request.receive, most)))
            except HTTPException as error:
                # FastAPI wraps whatever ends the reading of a body.
                if isinstance(error.__cause__, FluxionsError):
                    raise error.__cause__ from None
                raise

        return handle_bounded


def _counted(receive: Receive, limit_bytes: int) -> Receive:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body") or b"")
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        return message

    return counted


def _too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than the {limit_bytes} bytes accepted here")


@contextmanager
def well_formed() -> Iterator[None]:
    """What a body does not hold, or holds in another shape, is the sender's mistake: InvalidRequest names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"the body is not of the form this route takes: {error}", code="bad_frame") from error


def first_problem(error: ValidationError) -> str:
    """What is wrong first with a body that was read here, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'object'}: {first['msg']}"


async def body_of(request: Request, limit_bytes: int) -> bytes:
    """The whole body, which is not empty. Raises InvalidRequest."""
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise InvalidRequest(f"the body is larger than {limit_bytes} bytes", code="frame_too_large")
    body = await request.body()
    if not body:
        raise InvalidRequest("the body is empty", code="empty_body")
    return body
