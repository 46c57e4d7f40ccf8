"""Following the ledger from another process: a table's snapshot, and what was acknowledged since, before every read.

A reader asks the ledger for what it lacks, then reads. Readers that come while a question is on its way wait for the next
one and share it: an answer given before they came could lack what was acknowledged before they came. So there is at most
one question under way for a table, however many read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lakehouse.blocks import BlockCache
from lakehouse.ledger.changes import Changes, Position
from lakehouse.snapshot import Snapshot
from lakehouse.tail import AccountView, Tail
from schemas.errors import Unavailable

log = logging.getLogger(__name__)

REFRESH_ROWS = 1024
"""Acknowledged rows held over a snapshot before the next one is opened, beside the reads."""
REFRESH_SECS = 300.0
"""Age at which a snapshot is opened anew; well under the time that vacuum leaves files of old versions alone."""


class ChangeSource(Protocol):
    """The ledger, in this process or behind Ray."""

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]: ...


@dataclass(frozen=True, slots=True)
class _State:
    snapshot: Snapshot
    tail: Tail
    position: Position
    opened_at: float


class Follower:
    """One table, as one process reads it. Used on one event loop; opens nothing before the first read."""

    def __init__(self, table: str, uri: str, source: ChangeSource, cache: BlockCache) -> None:
        self._table = table
        self._uri = uri
        self._source = source
        self._cache = cache
        self._state: _State | None = None
        self._next: _State | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._round: asyncio.Task[_State] | None = None
        self._lock = asyncio.Lock()

    async def view(self, account: str) -> AccountView:
        """The account's rows, with everything acknowledged before this call. Raises Unavailable if the ledger is away."""
        if self._round is None:
            self._round = asyncio.create_task(self._catch_up())
        state = await asyncio.shield(self._round)
        return AccountView(account, state.snapshot, state.tail.of(account))

    async def reopen(self, failed: Snapshot) -> None:
        """Replace ``failed``, which names files that are gone."""
        async with self._lock:
            if self._state is not None and self._state.snapshot is failed:
                self._state = await self._open(failed)

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot read at present."""
        return self._state.snapshot if self._state else None

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    async def _catch_up(self) -> _State:
        async with self._lock:
            self._round = None
            if self._next is not None:
                self._state, self._next = self._next, None
            if self._state is None:
                self._state = await self._open(None)
                return self._state
            changes = (await self._source.changes({self._table: self._state.position}))[self._table]
            if changes.version is None:
                self._state.tail.add(changes.rows)
                self._state = _State(self._state.snapshot, self._state.tail, changes.position, self._state.opened_at)
            else:
                self._state = await self._opened(changes, self._state.snapshot)
            self._refresh_if_due(self._state)
            return self._state

    def _refresh_if_due(self, state: _State) -> None:
        due = state.tail.num_rows >= REFRESH_ROWS or time.monotonic() - state.opened_at >= REFRESH_SECS
        if due and self._next is None and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._prepare(state.snapshot), name=f"refresh-{self._table}")

    async def _prepare(self, previous: Snapshot) -> None:
        try:
            self._next = await self._open(previous)
        except Exception:
            # The state at hand stays right, only longer; the next read tries again.
            log.exception("opening a newer snapshot of %s failed", self._table)

    async def _open(self, previous: Snapshot | None) -> _State:
        return await self._opened((await self._source.changes({self._table: None}))[self._table], previous)

    async def _opened(self, changes: Changes, previous: Snapshot | None) -> _State:
        opened_at = time.monotonic()
        snapshot = await asyncio.to_thread(Snapshot.open, self._uri, self._table, self._cache, previous)
        if changes.version is not None and snapshot.version < changes.version:
            raise Unavailable(f"the table {self._table} is not up to date at its store yet; try again", retry_after_secs=1)
        tail = Tail(snapshot.spec, snapshot.schema)
        tail.add(changes.rows)
        return _State(snapshot, tail, changes.position, opened_at)
