"""One home, one ledger: the lock that keeps a second one out, and dies with its process.

A local home is held by ``flock`` on a file, which the kernel lets go however the process ends. A remote one is held by a
lease object, written by conditional put and renewed; it is free for others once its time is over, and a holder that could
not renew it stops writing before that.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import ObjectStore

from lakehouse.location import Location
from schemas.errors import Conflict, Unavailable
from schemas.times import iso, now

log = logging.getLogger(__name__)

LEASE_SECS = 15.0


class HomeLock(Protocol):
    """Held from ``take_lock`` until ``release`` or the end of the process."""

    def check(self) -> None:
        """Raises Unavailable when the lock may be another's by now; called before every commit."""
        ...

    async def release(self) -> None: ...


def _holder() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": iso(now()), "token": uuid.uuid4().hex}


def _taken(root: str, holder: dict[str, Any]) -> Conflict:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
    return Conflict(f"the storage at {root} is written by another ledger: {who}; stop it first", code="home_locked")


async def take_lock(location: Location, *, lease_secs: float = LEASE_SECS) -> HomeLock:
    """Become the only ledger of ``location``. Raises Conflict, saying who holds it."""
    if location.folder is not None:
        return FileLock(location.folder)
    return await ObjectLock.take(location, lease_secs)


class FileLock:
    """``flock`` on ROOT/ledger.lock; the file names its holder for people."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(root / "ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            written = os.pread(self._fd, 4096, 0)
            os.close(self._fd)
            # The holder may be between taking the lock and writing its name.
            raise _taken(str(root), json.loads(written) if written.endswith(b"}") else {}) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(_holder()).encode(), 0)

    def check(self) -> None:
        return

    async def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


class ObjectLock:
    """A lease object ROOT/ledger.lock in a store with conditional puts (S3, GCS, Azure).

    Its end is wall-clock time, so the clocks of hosts that share a store must agree to within a lease.
    """

    def __init__(self, store: ObjectStore, holder: dict[str, Any], lease_secs: float) -> None:
        self._store = store
        self._holder = holder
        self._lease_secs = lease_secs
        self._version: dict[str, str] = {}
        self._valid_until = 0.0
        self._renewal: asyncio.Task[None]

    @classmethod
    async def take(cls, location: Location, lease_secs: float) -> ObjectLock:
        lock = cls(location.store(), _holder(), lease_secs)
        try:
            await lock._put(None)
        except AlreadyExistsError:
            await lock._take_over(location.root)
        lock._renewal = asyncio.create_task(lock._renew(), name="ledger-lock")
        return lock

    async def _take_over(self, root: str) -> None:
        found = await obstore.get_async(self._store, "ledger.lock")
        version = _version(found.meta)
        holder = json.loads(bytes(await found.bytes_async()))
        if time.time() < holder["ends"]:
            raise _taken(root, holder)
        try:
            await self._put(version)
        except PreconditionError as error:
            raise _taken(root, {}) from error

    async def _put(self, expected: dict[str, str] | None) -> None:
        begun = time.monotonic()
        content = json.dumps({**self._holder, "ends": time.time() + self._lease_secs}).encode()
        mode: Any = "create" if expected is None else expected
        self._version = _version(await obstore.put_async(self._store, "ledger.lock", content, mode=mode))
        self._valid_until = begun + self._lease_secs

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_secs / 5)
            try:
                await self._put(self._version)
            except PreconditionError:
                # A put whose answer was lost also ends here; then the object still bears our token.
                if not await self._adopt_own():
                    log.critical("the ledger's lock was taken by another; this ledger stops writing")
                    self._valid_until = 0.0
                    return
            except Exception as error:
                log.warning("the ledger's lock could not be renewed: %s", type(error).__name__)

    async def _adopt_own(self) -> bool:
        found = await obstore.get_async(self._store, "ledger.lock")
        holder = json.loads(bytes(await found.bytes_async()))
        self._version = _version(found.meta)
        return bool(holder["token"] == self._holder["token"])

    def check(self) -> None:
        if time.monotonic() >= self._valid_until:
            raise Unavailable("this ledger lost its lock on the storage and writes no more", code="lock_lost")

    async def release(self) -> None:
        self._renewal.cancel()
        await asyncio.wait([self._renewal])
        if time.monotonic() < self._valid_until:
            self._valid_until = 0.0
            await obstore.delete_async(self._store, "ledger.lock")


def _version(result: Any) -> dict[str, str]:
    """What a conditional put must show; absent parts are left out because stores reject nulls."""
    return {key: result[key] for key in ("e_tag", "version") if result.get(key) is not None}
