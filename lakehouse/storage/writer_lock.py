"""The lock that allows one ledger for each storage root.

The folder of one machine is locked by ``flock`` on a file, which the kernel releases however the process ends. A remote
root, and a folder that several machines share, are locked by a lease, which the holder renews. Other ledgers may take an
expired lease. A holder that cannot renew its lease stops writing before it expires. A holder that was paused cannot know
that its lease expired. So the ledger that takes a lease also fences the tables (`lakehouse.tables.delta_writer`).
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

from lakehouse.storage.lease_records import LEASE_FOLDER, LeaseChanged, LeaseRecord, Version, lease_record
from lakehouse.storage.location import Location
from schemas.errors import Conflict, Unavailable
from schemas.times import iso, now
from telemetry.metrics import LOCK_WAIT

log = logging.getLogger(__name__)

LEASE_SECS = 10.0
_RENEWALS_WAITED = 5
"""Number of renewals within the length of a lease."""


class WriterLock(Protocol):
    """Held from `take_lock` until `release` or the end of the process."""

    expires: bool
    """Whether another ledger may take the lock while this process lives, so that tables need fences."""

    def check(self) -> None:
        """Raises Unavailable(code="lock_lost") if another ledger may have the lock by now. Called before every commit."""
        ...

    async def release(self) -> None:
        """Release the lock."""
        ...

    async def lost(self) -> None:
        """Returns when another ledger has taken the lock. Never returns for a lock that cannot be taken."""
        ...


def _holder() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": iso(now()), "token": uuid.uuid4().hex}


def _taken(root: str, holder: dict[str, Any]) -> Conflict:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
    return Conflict(f"the storage at {root} is written by another ledger: {who}; stop it first", code="home_locked")


async def take_lock(location: Location, *, shared: bool = False, lease_secs: float = LEASE_SECS) -> WriterLock:
    """Become the only ledger of ``location``. Raises Conflict(code="home_locked"), which names the holder.

    ``shared``: whether several machines use the folder. If the holder of a lease does not renew it, for example because
    it was killed, the call waits until the lease expires.
    """
    began = time.monotonic()
    lock = await _taken_lock(location, lease_secs, shared=shared)
    LOCK_WAIT.labels("storage").observe(time.monotonic() - began)
    return lock


async def _taken_lock(location: Location, lease_secs: float, *, shared: bool) -> WriterLock:
    if location.folder is None:
        return await LeaseLock.take(lease_record(location), location.root, lease_secs)
    own = FileLock(location.folder)
    if shared:
        await own.release()  # No ledger that locks by ``flock`` runs there.
        return await LeaseLock.take(lease_record(location), location.root, lease_secs)
    if (location.folder / LEASE_FOLDER).exists():
        try:
            await _ended(lease_record(location), location.root, waits_here=False)
        except Conflict:
            await own.release()
            raise
    return own


async def _ended(record: LeaseRecord, root: str, *, waits_here: bool) -> Version:
    """The version of a lease that has expired, now or during the call.

    Raises Conflict(code="home_locked") if it is renewed.

    The lease of a killed holder is never renewed, that of a living one within a fifth of a lease. ``waits_here``: whether
    to wait also for a holder on this machine.
    """
    version, holder = await record.read()
    is_here = holder.get("boot") == _boot()
    left_secs = holder["ends_since_boot"] - _clock() if is_here else holder["ends"] - time.time()
    if left_secs <= 0:
        return version
    if is_here and not waits_here:
        raise _taken(root, holder)
    # The clocks of two machines may differ or be stepped. A lease that is not renewed for its length has expired in any
    # case.
    left_secs = min(left_secs, holder.get("lease_secs", LEASE_SECS))
    log.warning("the storage's lock is held by process %s; waiting %.0f s for its end", holder.get("pid"), left_secs)
    for _ in range(_RENEWALS_WAITED):
        await asyncio.sleep(left_secs / _RENEWALS_WAITED)
        if (await record.read())[0] != version:
            raise _taken(root, holder)
    return version


class FileLock:
    """``flock`` on ROOT/ledger.lock. The content names the holder, for people."""

    expires = False

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(root / "ledger.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            written = os.pread(self._fd, 4096, 0)
            os.close(self._fd)
            # The holder may have taken the lock but not written its name yet.
            raise _taken(str(root), json.loads(written) if written.endswith(b"}") else {}) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(_holder()).encode(), 0)

    def check(self) -> None:
        """See `WriterLock.check`."""
        return

    async def release(self) -> None:
        """See `WriterLock.release`."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    async def lost(self) -> None:
        """See `WriterLock.lost`."""
        await asyncio.Event().wait()


class LeaseLock:
    """A lease in a `LeaseRecord`.

    On the machine of its holder it expires by the time since the boot. On others it expires by the wall clock, or when it
    was not renewed for as long as it lasts. So the clocks of machines that share a store must agree to within a lease. If
    they do not agree, one ledger may stop another one, but neither can overwrite the other's data.
    """

    expires = True

    def __init__(self, record: LeaseRecord, lease_secs: float) -> None:
        self._record = record
        self._holder = _holder()
        self._lease_secs = lease_secs
        self._version: Version = {}
        self._valid_until = 0.0
        self._lost = asyncio.Event()
        self._renewal: asyncio.Task[None]

    @classmethod
    async def take(cls, record: LeaseRecord, root: str, lease_secs: float) -> LeaseLock:
        """Take the lease, if it is free or expires without renewal. Raises Conflict(code="home_locked")."""
        lock = cls(record, lease_secs)
        try:
            await lock._put({})
        except LeaseChanged:
            try:
                await lock._take_over(root)
            except FileNotFoundError:  # The holder ended meanwhile.
                await lock._put({})
        lock._renewal = asyncio.create_task(lock._renew(), name="ledger-lock")
        return lock

    async def _take_over(self, root: str) -> None:
        version = await _ended(self._record, root, waits_here=True)
        try:
            await self._put(version)
        except LeaseChanged as error:
            raise _taken(root, {}) from error

    async def _put(self, expected: Version) -> None:
        begun = _clock()
        content = {
            **self._holder,
            "ends": time.time() + self._lease_secs,
            "boot": _boot(),
            "ends_since_boot": begun + self._lease_secs,
            "lease_secs": self._lease_secs,
        }
        self._version = await self._record.write(expected, content)
        self._valid_until = begun + self._lease_secs

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_secs / _RENEWALS_WAITED)
            try:
                await self._put(self._version)
            except LeaseChanged:
                # This also happens if the answer to our own put was lost. In that case the record has our token.
                if not await self._adopt_own():
                    log.critical("the ledger's lock was taken by another; this ledger stops writing")
                    self._valid_until = 0.0
                    self._lost.set()
                    return
            except Exception as error:
                log.warning("the ledger's lock could not be renewed: %s", type(error).__name__)

    async def _adopt_own(self) -> bool:
        self._version, holder = await self._record.read()
        return bool(holder["token"] == self._holder["token"])

    def check(self) -> None:
        """See `WriterLock.check`."""
        if _clock() >= self._valid_until:
            raise Unavailable("this ledger lost its lock on the storage and writes no more", code="lock_lost")

    async def release(self) -> None:
        """See `WriterLock.release`."""
        self._renewal.cancel()
        await asyncio.wait([self._renewal])
        if _clock() < self._valid_until:
            self._valid_until = 0.0
            freed = {**self._holder, "ends": 0.0}
            try:
                await self._record.remove(self._version, freed)
            except LeaseChanged:  # The cancelled renewal changed the record, if its put had been sent.
                if await self._adopt_own():
                    await self._record.remove(self._version, freed)

    async def lost(self) -> None:
        """See `WriterLock.lost`."""
        await self._lost.wait()


def _clock() -> float:
    """Seconds since the boot of the machine, including suspended time if the system reports it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _boot() -> str:
    """An id of this boot of the machine, the same in all its processes."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
