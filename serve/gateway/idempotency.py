"""The header ``Idempotency-Key`` on POST: a repeated request is not carried out again, and gets the first one's answer.

This middleware runs inside the gate, so the account is known and sizes are limited. Answers of requests that were carried
out are stored: 2xx, and errors after the work began (500). Refusals (4xx) and 503 changed nothing, and are not stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import FluxionsError, InvalidParameter
from serve.gateway.auth import Principal
from serve.gateway.errors import respond, unexpected
from serve.services.stored_answers import Answer, KeyedRequest, StoredAnswers

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
_REPLAYED: Final = (b"idempotent-replayed", b"true")
_KEY_MAX_CHARS: Final = 255
_BODY_MAX_BYTES: Final = 64 * 1024 * 1024
"""A longer answer (an hour of uncompressed speech) is not stored."""
_REST_SECS: Final = 10.0
"""Time limit for the arrival of the part of a body that the route did not read."""
_NOT_CARRIED_OUT: Final = frozenset({503, 507})


def submission_name(request: Request) -> str:
    """The identity of what a request submits: the same for all requests under one key, else a new one."""
    keyed: KeyedRequest | None = getattr(request.state, "keyed", None)
    return keyed.name if keyed is not None else uuid.uuid4().hex


def is_taken_over(request: Request) -> bool:
    """Whether an earlier request under the same key may already have made the object that this request is to make."""
    keyed: KeyedRequest | None = getattr(request.state, "keyed", None)
    return keyed is not None and keyed.is_taken_over


class Idempotency:
    """Middleware within the gate."""

    def __init__(self, app: ASGIApp, answers: StoredAnswers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = scope.get("state", {}).get("principal")
        key = Headers(scope=scope).get(HEADER) if scope["type"] == "http" and scope["method"] == "POST" else None
        if principal is None or key is None:
            await self._app(scope, receive, send)
            return
        try:
            keyed = self._answers.request(principal.account, _checked(key))
            body = _HashedBody(scope, receive, principal)
            stored = await keyed.answer()
            if stored is None:
                await keyed.claim()
        except FluxionsError as error:
            await respond(Request(scope), error)(scope, receive, send)
            return
        if stored is None:
            await self._carry_out(scope, body, send, keyed)
        else:
            await _replay(scope, body, send, stored)

    async def _carry_out(self, scope: Scope, body: _HashedBody, send: Send, keyed: KeyedRequest) -> None:
        scope["state"]["keyed"] = keyed
        recorded = _Recorded(send, body, keyed)
        try:
            async with keyed.held():
                try:
                    await self._app(scope, body.receive, recorded.send)
                except Exception:
                    broken = unexpected(Request(scope))
                    await recorded.store(broken.status_code, broken.raw_headers, bytes(broken.body))
                    raise
        finally:
            if not recorded.is_stored:
                await asyncio.shield(_released(keyed))


class _HashedBody:
    """The request's body on its way to the route, and its digest together with method, path and query."""

    def __init__(self, scope: Scope, receive: Receive, principal: Principal) -> None:
        self._receive = receive
        media_type, _, rest = Headers(scope=scope).get("content-type", "").partition("boundary=")
        self._boundary = rest.partition(";")[0].strip('" ').encode()
        query = sorted(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        # The answer to a key with more scopes, such as a token with these, is not for a key or token with fewer.
        authority = (principal.is_key, sorted(principal.scopes))
        self._digest = hashlib.sha256(repr((scope["path"], query, media_type.strip("; "), authority)).encode())
        self._held = b""
        self.is_whole = False

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._add(message.get("body") or b"")
            self.is_whole = not message.get("more_body", False)
        return message

    async def digest(self) -> str | None:
        """The digest of the whole request. Reads the rest of the body. None if the client disconnects."""
        while not self.is_whole:
            if (await self.receive())["type"] == "http.disconnect":
                return None
        whole = self._digest.copy()
        whole.update(self._held)
        return whole.hexdigest()

    def _add(self, data: bytes) -> None:
        """Add body data to the digest, without the boundary of a form: clients choose a new boundary when they repeat a
        form.
        """
        if self._boundary:
            *before, data = (self._held + data).split(self._boundary)
            for part in before:
                self._digest.update(part)
            kept = len(data) - len(self._boundary) + 1
            data, self._held = (data[:kept], data[kept:]) if kept > 0 else (b"", data)
        self._digest.update(data)


class _Recorded:
    """The response on its way to the client. It is stored before its last part is sent."""

    def __init__(self, send: Send, body: _HashedBody, keyed: KeyedRequest) -> None:
        self._send = send
        self._body = body
        self._keyed = keyed
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._is_begun = False
        self.is_stored = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None and message["type"] == "http.response.body":
            self._size += len(message.get("body", b""))
            if self._size <= _BODY_MAX_BYTES:
                self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._store_sent()
            if not self._is_begun:
                self._is_begun = True
                await self._send(self._start)
        await self._send(message)

    async def store(self, status: int, raw_headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Store an answer."""
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw_headers)
        try:
            async with asyncio.timeout(_REST_SECS):
                digest = await self._body.digest()
            if digest is not None:
                await self._keyed.store(Answer(digest, status, headers, body))
                self.is_stored = True
        except Exception as error:  # the request was carried out, so the client gets its answer
            logger.error("the answer to a request with an Idempotency-Key was not stored: %s", type(error).__name__)  # noqa: TRY400

    async def _store_sent(self) -> None:
        assert self._start is not None  # noqa: S101 - the caller has looked
        status = self._start["status"]
        refused = 400 <= status < 500 or status in _NOT_CARRIED_OUT
        if not refused and self._size <= _BODY_MAX_BYTES:
            await self.store(status, self._start["headers"], b"".join(self._parts))


def _checked(key: str) -> str:
    """``key`` itself. Raises InvalidParameter."""
    if not (0 < len(key) <= _KEY_MAX_CHARS and key.isascii() and key.isprintable()):
        raise InvalidParameter(
            f"{HEADER}: send 1 to {_KEY_MAX_CHARS} printable ASCII characters, such as a UUID", param=HEADER
        )
    return key


async def _replay(scope: Scope, body: _HashedBody, send: Send, stored: Answer) -> None:
    try:
        digest = await body.digest()
        if digest != stored.request:
            raise InvalidParameter(
                f"{HEADER}: another request was made with this key; use a new key for each request",
                code="idempotency_key_reused",
                param=HEADER,
            )
    except FluxionsError as error:
        await respond(Request(scope), error)(scope, body.receive, send)
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stored.headers]
    await send({"type": "http.response.start", "status": stored.status, "headers": [*headers, _REPLAYED]})
    await send({"type": "http.response.body", "body": stored.body, "more_body": False})


async def _released(keyed: KeyedRequest) -> None:
    try:
        await keyed.release()
    except Exception as error:  # the claim expires by itself
        logger.warning("a claim of an Idempotency-Key was not released: %s", type(error).__name__)
