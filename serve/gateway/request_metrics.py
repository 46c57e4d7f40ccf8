"""Counts responses by the rule of their route."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.gateway.access import AccessRules
from telemetry.metrics import REQUESTS

_NO_RULE = "none"


class RequestMetrics:
    """Middleware around all others.

    The label of a request is the path of its rule, such as ``/transcriptions/*``, and not the path that the client sent.
    """

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rule = self._rules.find(scope["path"])
        route = _NO_RULE if rule is None else rule.path

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(route, f"{message['status'] // 100}xx").inc()
            await send(message)

        await self._app(scope, receive, counted)
