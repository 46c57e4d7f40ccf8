"""What a client gets whose key or token is no longer valid while its request is answered, or its socket is open."""

from __future__ import annotations

import orjson
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.api.errors import error_body
from schemas.errors import FluxionsError
from serve.gateway.access_watch import Access
from serve.gateway.errors import respond


async def answer_while_valid(access: Access, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request as long as its access is valid.

    Afterwards a request without a response gets one of 401 or 403, and a stream of events an event `error` as its last. All
    other responses are broken off.
    """
    start: Message | None = None
    is_whole = False

    async def received() -> Message:
        # An upload that is being stored must end by an error of its body, as when its client leaves.
        nonlocal is_whole
        if is_whole:
            return await receive()
        async with access.while_valid():
            message = await receive()
        is_whole = not message.get("more_body", False)
        return message

    async def noted(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        await send(message)

    try:
        async with access.while_valid():
            await app(scope, received, noted)
    except FluxionsError as error:
        if not access.is_refusal(error):
            raise
        if start is None:
            await respond(Request(scope), error)(scope, receive, send)
        elif Headers(raw=start["headers"]).get("content-type", "").startswith("text/event-stream"):
            body = error_body(error, scope.get("state", {}).get("request_id", "")).model_dump()
            last = b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
            await send({"type": "http.response.body", "body": last, "more_body": False})
