"""Answers to requests with an ``Idempotency-Key``, stored so that a repeated request gets the first one's answer.

The first request under a key of an account claims it, is carried out, and stores its answer. It is stored as these
objects:

    idempotency/<hash of account and key>/<n>         the n-th claim; valid until a time that its owner extends
    idempotency/<hash of account and key>/answer      request digest, status, headers and body

Each object is created at most once, also if several gateways try. The claim of a dead owner expires, and the next request
makes claim n + 1. Answers may contain secrets (a new API key), so they are encrypted. The encryption key is derived from
the ``Idempotency-Key`` and the home's secret. Maintenance removes the objects a day after they were written.

Semantics: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cryptography.fernet import Fernet

from lakehouse.storage.objects import Objects
from runtime.boot_clock import boot, secs_since_boot
from schemas import wire
from schemas.domain import Seconds
from schemas.errors import FluxionsError, NotFound, RequestInProgress

FOLDER: Final = "idempotency"
CLAIM_SECS: Final[Seconds] = 60.0
"""How long a claim is valid without its owner moving the time on."""
_RETRY_SECS: Final[Seconds] = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored response. ``request``: digest of the request that it answers."""

    request: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class KeyedRequest:
    """One request under a key of an account. Methods raise what the object store raises."""

    def __init__(self, objects: Objects, home_secret: bytes, account: str, key: str) -> None:
        identity = hmac.digest(home_secret, f"idempotency\0{account}\0{key}".encode(), hashlib.sha256)
        self.name = hashlib.sha256(b"name" + identity).hexdigest()
        """An identity that all requests under this key share, and no other request."""
        self._objects = objects
        self._folder = f"{FOLDER}/{self.name}"
        self._cipher = Fernet(base64.urlsafe_b64encode(identity))
        self._claim = -1

    @property
    def is_taken_over(self) -> bool:
        """Whether an earlier request under this key was begun and has no answer."""
        return self._claim > 0

    async def answer(self) -> Answer | None:
        """The stored answer, if there is one."""
        try:
            stored = await self._objects.get_bytes(f"{self._folder}/answer")
        except NotFound:
            return None
        head, body = wire.unpack(await asyncio.to_thread(self._cipher.decrypt, stored))
        headers = tuple((name, value) for name, value in head["headers"])
        return Answer(head["request"], head["status"], headers, bytes(body))

    async def claim(self) -> None:
        """Claim the key, so that this request is carried out. Raises RequestInProgress while another one does."""
        names = [key.rpartition("/")[2] async for key, _ in self._objects.list(self._folder)]
        last = max((int(name) for name in names if name.isdigit()), default=-1)
        if "answer" in names or (last >= 0 and await self._is_valid(last)):
            raise _in_progress()
        if not await self._objects.put_new(f"{self._folder}/{last + 1}", _until(CLAIM_SECS)):
            raise _in_progress()
        self._claim = last + 1

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """While this is open, the claim stays valid."""
        keeping = asyncio.create_task(self._keep(), name="idempotency claim")
        try:
            yield
        finally:
            keeping.cancel()

    async def release(self) -> None:
        """Give the claim up, because the request changed nothing. The next request under the key is carried out."""
        await self._objects.put_bytes(f"{self._folder}/{self._claim}", _until(0.0))

    async def store(self, answer: Answer) -> None:
        """Store the answer, unless one is stored already."""
        head = {"request": answer.request, "status": answer.status, "headers": answer.headers}
        data = await asyncio.to_thread(lambda: self._cipher.encrypt(wire.pack(head, answer.body)))
        await self._objects.put_new(f"{self._folder}/answer", data)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECS / 3)
            # After a short failure of the store, the next extension comes before the claim expires.
            with contextlib.suppress(FluxionsError, OSError):
                await self._objects.put_bytes(f"{self._folder}/{self._claim}", _until(CLAIM_SECS))

    async def _is_valid(self, claim: int) -> bool:
        try:
            return _is_ahead((await self._objects.get_bytes(f"{self._folder}/{claim}")).decode())
        except (NotFound, ValueError, IndexError):
            return False


class StoredAnswers:
    """Makes the `KeyedRequest` of each request."""

    def __init__(self, objects: Objects, home_secret: bytes) -> None:
        self._objects = objects
        self._home_secret = home_secret

    def request(self, account: str, key: str) -> KeyedRequest:
        """The request under ``key`` of ``account``."""
        return KeyedRequest(self._objects, self._home_secret, account, key)


def _until(secs: Seconds) -> bytes:
    """``<wall clock> <boot> <time since the boot> <unique>``: the end of a claim, by two clocks."""
    # No two claims have the same content, so that each knows its own.
    return f"{time.time() + secs!r} {boot()} {secs_since_boot() + secs!r} {uuid.uuid4().hex}".encode()


def _is_ahead(end: str) -> bool:
    """Whether the time that `_until` wrote is still to come. Gateways of one machine see no step of its wall clock.

    Raises ValueError or IndexError for anything else.
    """
    by_wall_clock, at_boot, since_boot = end.split()[:3]
    return float(since_boot) > secs_since_boot() if at_boot == boot() else float(by_wall_clock) > time.time()


def _in_progress() -> RequestInProgress:
    return RequestInProgress(
        "a request with this Idempotency-Key is being carried out; repeat this one in a moment to get its answer",
        retry_after_secs=_RETRY_SECS,
    )
