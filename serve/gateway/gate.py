"""Authentication, scopes and size limits of requests, checked before a route reads a body.

As a middleware around all routes it covers every route. FastAPI alone would read a body before it evaluates dependencies.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack

from fastapi import APIRouter, Request, WebSocket
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import FluxionsError, PayloadTooLarge, RateLimited
from schemas.records import AuditEvent
from schemas.scopes import OPERATOR
from serve.account_slots import AccountSlots
from serve.gateway.access import ANY, AccessRules, Rule
from serve.gateway.access_watch import AccessWatch
from serve.gateway.auth import KeyRing, Principal
from serve.gateway.client_limits import ClientLimits
from serve.gateway.ended_access import answer_while_valid
from serve.gateway.errors import refuse_handshake, respond
from serve.gateway.open_streams import OpenSocket, OpenStreams

_MOST_DIGITS = 18
_TRY_AGAIN_LATER = 1013
_TARGET_CHARS = 500

logger = logging.getLogger(__name__)


class Gate:
    """Middleware around all routes. It leaves the `Principal` in ``request.state.principal``.

    For a socket it leaves the `OpenSocket` in ``socket.state.stream``. The socket's route calls `OpenSocket.belongs_to`
    once the key is known.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: AccessRules,
        keys: KeyRing,
        limits: ClientLimits,
        streams: OpenStreams,
        watch: AccessWatch,
        uploads: AccountSlots,
        forms: AccountSlots,
        record: Callable[[AuditEvent], Awaitable[None]],
    ) -> None:
        self._app = app
        self._record = record
        self._rules = rules
        self._keys = keys
        self._limits = limits
        self._streams = streams
        self._watch = watch
        self._uploads = uploads
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self._rules.find(scope["path"])
        most = self._rules.body_bytes(rule)
        headers, host = Headers(scope=scope), _host(scope)
        declared = declared_bytes(headers) or 0
        is_recording = rule is not None and rule.body in ("upload", "form", "clip")
        is_form = rule is not None and rule.body in ("form", "clip")
        follows = rule is not None and rule.follows_job(scope.get("query_string", b""))
        async with AsyncExitStack() as held:
            try:
                is_open = self._rules.is_open(scope["method"], scope["path"], rule)
                principal = None if is_open else await self._principal(rule, headers.get("authorization"))
                if declared > most:
                    raise _too_large(most)
                limit_headers = {} if is_open else await self._limits.take_request(principal, host)
                if is_recording and rule is not None:
                    await self._limits.take_bytes(principal, declared)
                    slot = held.enter_context(self._slot(rule, scope["method"], principal))
                if follows:
                    held.enter_context(self._streams.opened(principal, host))
                if rule is not None and rule.searches:
                    await held.enter_async_context(self._limits.search(principal))
            except FluxionsError as error:
                await respond(Request(scope), error)(scope, receive, send)
                return
            scope.setdefault("state", {})["principal"] = principal
            if is_form:
                receive = _watched(receive, slot.close)
            counted = self._counted(receive, most, declared, principal if is_recording else None)
            answered = _with_headers(send, limit_headers)
            if principal is not None and self._rules.audited(scope["method"], scope["path"], rule):
                answered = self._recorded(answered, scope, principal, rule)
            if principal is None or rule is None or not (follows or rule.lasts):
                await self._app(scope, counted, answered)
                return
            access = held.enter_context(self._watch.opened(principal, ends_with_token=follows))
            await answer_while_valid(access, self._app, scope, counted, answered)

    def _slot(self, rule: Rule, method: str, principal: Principal | None) -> ExitStack:
        """A slot of the client for its recording. Raises Unavailable, RateLimited.

        That of a form is given back once the form has come: its response may take as long as its job. What operators send
        belongs to accepted work, and needs none.
        """
        slot = ExitStack()
        if principal is not None and rule.scope != OPERATOR and method not in ("GET", "HEAD"):
            slots = self._uploads if rule.body == "upload" else self._forms
            slot.enter_context(slots.slot(principal.account))
        return slot

    def _recorded(self, send: Send, scope: Scope, principal: Principal, rule: Rule | None) -> Send:
        """``send`` that records a change or an export before the response is sent."""

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                event = AuditEvent(
                    account=principal.account,
                    key_id=principal.key_id,
                    action=f"{scope['method']} {rule.path if rule is not None else ''}",
                    target=scope["path"][:_TARGET_CHARS],
                    status=message["status"],
                    address=_host(scope) or "",
                    request_id=scope.get("state", {}).get("request_id", ""),
                )
                try:
                    await self._record(event)
                except FluxionsError:
                    logger.exception("an event was not recorded in the audit: %s by %s", event.action, event.key_id)
            await send(message)

        return recorded

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as held:
            try:
                stream = held.enter_context(self._streams.opened(None, _host(scope)))
            except RateLimited as error:
                if await refuse_handshake(WebSocket(scope, receive, send), error):
                    return
                # Closed before it is accepted: the server refuses the handshake with 403.
                await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "too many sockets are open"})
                return
            scope.setdefault("state", {})["stream"] = OpenSocket(stream, held.enter_context(self._watch.opened(None)))
            await self._app(scope, receive, send)

    def _counted(self, receive: Receive, limit_bytes: int, declared: int, sender: Principal | None) -> Receive:
        """``receive`` that raises above the limit; bytes beyond those ``declared`` are counted for ``sender``."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            count = len(message.get("body") or b"")
            size += count
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            if size > declared:
                await self._limits.take_bytes(sender, count)
            return message

        return counted

    async def _principal(self, rule: Rule | None, authorization: str | None) -> Principal | None:
        """Raises Unauthenticated, Forbidden."""
        if rule is None or (rule.optional and authorization is None):
            return None
        principal = await self._keys.principal(authorization)
        if rule.scope != ANY:
            principal.require(rule.scope)
        return principal


def check_declared(routers: Sequence[APIRouter], rules: AccessRules) -> None:
    """Raises RuntimeError if a route has no rule."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, (Route, WebSocketRoute)) and rules.find(route.path) is None:
                raise RuntimeError(f"{route.path} has no rule in serve/gateway/access.py, so no request could reach it")


def declared_bytes(headers: Headers) -> int | None:
    """The declared length of a request's body; None without one. An invalid length counts as the largest possible."""
    value = headers.get("content-length")
    if value is None:
        return None
    digits = value.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS else sys.maxsize


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """``send`` that adds headers to the response.

    A response that is over another limit has these headers already and keeps them.
    """
    if not headers:
        return send

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = MutableHeaders(scope=message)
            if not any(name in sent for name in headers):
                sent.update(headers)
        await send(message)

    return with_headers


def _watched(receive: Receive, on_end: Callable[[], None]) -> Receive:
    """``receive`` that calls ``on_end`` once the body has come."""

    async def watched() -> Message:
        message = await receive()
        if not message.get("more_body", False):
            on_end()
        return message

    return watched


def _host(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def _too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than the {limit_bytes} bytes accepted here")
