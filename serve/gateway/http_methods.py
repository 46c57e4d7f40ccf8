"""HEAD for every route that has GET, and the methods that a path allows."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HeadRequests:
    """Middleware: answers HEAD with status and headers of the GET response (RFC 9110, section 9.3.2).

    The route ends once it begins to send a body, so a stream of events is not waited for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif message["type"] == "http.response.body" and not answered.is_set():
                answered.set()
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        route = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, send_head))
        waiting = asyncio.ensure_future(answered.wait())
        try:
            await asyncio.wait({route, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if route.done():
                await route
        finally:
            for task in (route, waiting):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def allowed(app: FastAPI, scope: Scope) -> list[str]:
    """The methods for the path of ``scope``, over all routes that match it.

    A path that is itself a route, such as `/conversations/search`, does not match a route with an id in this place.
    """
    documented = app.openapi()["paths"].get(scope["path"])
    if documented is not None:
        found = [method for method in _METHODS if method.lower() in documented]
    else:
        found = [
            method
            for method in _METHODS
            if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
        ]
    return ["HEAD", *found] if "GET" in found else found
