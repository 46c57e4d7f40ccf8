"""Follows one table from another process: a snapshot of the table, and the rows acknowledged since.

Before each read the reader requests from the ledger the rows it lacks. Reads that arrive during such a request wait for
the next request and share it, because the answer to the first could lack rows acknowledged before they arrived. So each
table has at most one request in progress, however many reads there are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.snapshot import Snapshot
from lakehouse.history.table_parts import TablePart
from lakehouse.history.tail import AccountView, Tail
from lakehouse.ledger.change_log import Changes, Position
from schemas.domain import Seconds
from schemas.errors import Unavailable

log = logging.getLogger(__name__)

REFRESH_ROWS = 1024
"""After this many acknowledged rows a new snapshot is opened in the background."""
REFRESH_SECS = 300.0
"""After this time a new snapshot is opened. The time must be well below the time for which vacuum keeps old files."""


AHEAD_SECS: Final[Seconds] = 60.0
AHEAD_ROWS: Final = 16_384
"""So long a new snapshot waits for what is built ahead of it, and while no more rows than these were acknowledged."""

_LOOK_SECS: Final[Seconds] = 0.5
"""So often the number of acknowledged rows is looked at meanwhile."""

BuildAhead = Callable[[str, Sequence[TablePart]], Sequence[Future[None]]]
"""Starts to build what queries of a snapshot use, given the table and the snapshot's parts. Returns what is being built."""


class ChangeSource(Protocol):
    """The part of `lakehouse.ledger.interface.RecordLedger` that readers need."""

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        """By table, the rows acknowledged after a position; None asks for a position to start from."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    snapshot: Snapshot
    tail: Tail
    position: Position
    opened_at: float


class Follower:
    """Follows one table, on one event loop. Nothing is opened before the first read."""

    def __init__(
        self, table: str, uri: str, source: ChangeSource, cache: RowGroupCache, indexes: IndexFiles | None
    ) -> None:
        self._table = table
        self._uri = uri
        self._source = source
        self._cache = cache
        self._indexes = indexes
        self.build_ahead: BuildAhead | None = None
        """Called before a new snapshot takes the place of one."""
        self._state: _State | None = None
        self._next: _State | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._round: asyncio.Task[_State] | None = None
        self._lock = asyncio.Lock()

    async def view(self, account: str) -> AccountView:
        """An account's rows, including everything acknowledged before this call. Raises Unavailable without a ledger."""
        if self._round is None:
            self._round = asyncio.create_task(self._catch_up())
        state = await asyncio.shield(self._round)
        return AccountView(account, state.snapshot, state.tail.of(account))

    async def reopen(self, failed: Snapshot) -> None:
        """Replace the snapshot ``failed``, whose files were vacuumed, unless that was done already."""
        async with self._lock:
            if self._state is not None and self._state.snapshot is failed:
                self._state = await self._open(failed)

    async def drop_old_indexes(self) -> None:
        """Remove cached indexes of data files that the table has no more, though nobody reads it. Raises Unavailable."""
        if self._state is not None:
            # Whatever was erased made the ledger ask for a new snapshot, and opening one removes them.
            await self.view("")
        elif self._indexes is not None:
            await asyncio.to_thread(self._indexes.keep_those_of, self._uri)

    def wait_until_stored(self) -> None:
        """Wait until no row blocks are being made. Blocks."""
        if self._indexes is not None:
            self._indexes.wait()

    @property
    def snapshot(self) -> Snapshot | None:
        """The present snapshot; None before the first read."""
        return self._state.snapshot if self._state else None

    async def close(self) -> None:
        """Stop opening snapshots and making row blocks."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])
        if self._indexes is not None:
            self._indexes.close()

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
            state = await self._open(previous)
            if await self._is_built_ahead(state.snapshot):
                state = await self._open(state.snapshot)
            self._next = state
        except Exception:
            # The present snapshot stays correct, with more rows over it; the next read tries again.
            log.exception("opening a newer snapshot of %s failed", self._table)

    async def _is_built_ahead(self, snapshot: Snapshot) -> bool:
        """Whether anything was built for ``snapshot``, which took a while."""
        if self.build_ahead is None:
            return False
        building = await asyncio.to_thread(self.build_ahead, self._table, snapshot.parts)
        waiting = {asyncio.wrap_future(one) for one in building}
        until = time.monotonic() + AHEAD_SECS
        while waiting and time.monotonic() < until and self._rows_since() < AHEAD_ROWS:
            _, waiting = await asyncio.wait(waiting, timeout=_LOOK_SECS)
        return bool(building)

    def _rows_since(self) -> int:
        return self._state.tail.num_rows if self._state else 0

    async def _open(self, previous: Snapshot | None) -> _State:
        return await self._opened((await self._source.changes({self._table: None}))[self._table], previous)

    async def _opened(self, changes: Changes, previous: Snapshot | None) -> _State:
        opened_at = time.monotonic()
        snapshot = await asyncio.to_thread(Snapshot.open, self._uri, self._table, self._cache, previous, self._indexes)
        if changes.version is not None and snapshot.version < changes.version:
            raise Unavailable(f"the table {self._table} is not up to date at its store yet; try again", retry_after_secs=1)
        tail = Tail(snapshot.spec, snapshot.schema)
        tail.add(changes.rows)
        return _State(snapshot, tail, changes.position, opened_at)
