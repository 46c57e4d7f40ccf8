"""Group commit: one writer thread for each table.

Rows that arrive during a commit form the next commit, so no row waits for more than one other commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lakehouse.storage.location import Location
from lakehouse.storage.store_errors import storage_error
from lakehouse.tables.delta_writer import CommitError, DeltaWriter, Row
from lakehouse.tables.file_replacement import FileReplacement
from lakehouse.tables.table_reader import TableReader
from schemas.errors import Unavailable
from schemas.tables import Table
from telemetry.metrics import COMMIT_SECONDS, COMMIT_WAIT, COMMITS, COMMITTED_ROWS

log = logging.getLogger(__name__)

MAX_COMMIT_ROWS = 16_384

__all__ = ["Row", "TableWriter"]


@dataclass(slots=True)
class _Pending:
    rows: list[Row]
    txn_version: int
    done: asyncio.Future[int]
    since: float = field(default_factory=time.perf_counter)
    """When the rows were queued, by time.perf_counter()."""


def _allow() -> None:
    return


def _ignore(_rows: list[Row]) -> None:
    return


class TableWriter:
    """The only writer of one table in this process, used on one event loop. `close` ends its thread."""

    def __init__(self, delta_writer: DeltaWriter, thread: ThreadPoolExecutor) -> None:
        self.on_landed: Callable[[list[Row]], None] = _ignore
        """Called with rows that are in the table although their `append` raised, before later rows are acknowledged."""
        self.on_committed: Callable[[list[Row]], None] = _ignore
        """Called with the rows that the table gained, in order, before their `append` is acknowledged."""
        self._delta_writer = delta_writer
        # From 0, because an alert sees no increase in a series that begins at 1.
        self._failures = COMMITS.labels(delta_writer.table.name, "failed")
        self._thread = thread
        self._last_txn_version = delta_writer.txn_version
        self._failed_txn_version: int | None = None
        self._pending: deque[_Pending] = deque()
        self._doubtful: list[list[_Pending]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._checkpoint: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run(), name=f"commit-{delta_writer.table.name}")

    @classmethod
    async def open(
        cls,
        table: Table,
        location: Location,
        *,
        app_id: str,
        checkpoint_interval: int,
        guard: Callable[[], None] = _allow,
        fenced: bool = False,
        retention_hours: int | None = None,
    ) -> TableWriter:
        """Open the table, which is created if it does not exist.

        ``guard`` is called before every commit; an exception of ``guard`` prevents the commit. ``fenced``: whether
        another process may become the writer, which then stops this writer. ``retention_hours``: see `DeltaWriter`.

        Raises Conflict for a table of another version of this program.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"commit-{table.name}")
        try:
            delta_writer = await asyncio.get_running_loop().run_in_executor(
                thread,
                lambda: DeltaWriter(
                    table,
                    location,
                    app_id=app_id,
                    checkpoint_interval=checkpoint_interval,
                    guard=guard,
                    fenced=fenced,
                    retention_hours=retention_hours,
                ),
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(delta_writer, thread)

    @property
    def table(self) -> Table:
        """Schema and statistics of the table."""
        return self._delta_writer.table

    @property
    def uri(self) -> str:
        """Path or URL of the table."""
        return self._delta_writer.uri

    def reader(self) -> TableReader:
        """A reader of the table. Until `forget_opened` it reads no version again that this writer has read."""
        return TableReader(self.uri, lambda: self._delta_writer.opened)

    def forget_opened(self) -> None:
        """Drop what was read of the table when it was opened. Begins a checkpoint if one is due.

        A table that nobody writes to gains a fence each time it is opened, and each fence is read by the next ledger.
        """
        self._delta_writer.opened = None
        self._checkpoint_if_due()

    @property
    def version(self) -> int:
        """Delta version of the last commit."""
        return self._delta_writer.version

    @property
    def txn_version(self) -> int:
        """App transaction version of the last commit; -1 before the first."""
        return self._delta_writer.txn_version

    def append(self, rows: list[Row], txn_version: int | None = None) -> asyncio.Future[int]:
        """Queue ``rows`` for the next commit. Without rows, that commit only takes a version, so that no earlier commit can
        arrive there.

        The result of the future is the Delta version that contains them, once it is flushed.

        Rows are committed in the order of calls, all rows of a call in one commit. ``txn_version`` must increase from
        call to call; by default it increases by one. The future raises Unavailable when the commit failed: the rows are
        most likely not in the table, and `on_landed` is called if they are. The same rows may be sent again with the same
        ``txn_version`` if their commit had no other rows and nothing was sent since. Cancelling the future does not
        remove the rows from the queue.
        """
        name = self._delta_writer.table.name
        if self._closing:
            raise Unavailable(f"the table {name} is closed", code="closed")
        txn_version = self._last_txn_version + 1 if txn_version is None else txn_version
        if txn_version <= self._last_txn_version and txn_version != self._failed_txn_version:
            raise ValueError(f"txn_version {txn_version} of {name} does not follow {self._last_txn_version}")
        self._last_txn_version, self._failed_txn_version = txn_version, None
        pending = _Pending(rows, txn_version, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._wake.set()
        return pending.done

    async def delete(self, predicate: str) -> None:
        """Remove rows between two commits, durably; see `DeltaWriter.delete`. Raises Unavailable."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._delta_writer.delete, predicate)
        except CommitError as error:
            name = self._delta_writer.table.name
            raise Unavailable(f"rows of the table {name} could not be removed", code="commit_failed") from error

    async def replace_files(self, change: FileReplacement) -> bool:
        """Replace files between two commits; see `DeltaWriter.replace_files`. Raises Unavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._delta_writer.replace_files, change)
        except CommitError as error:
            name = self._delta_writer.table.name
            raise Unavailable(f"files of the table {name} could not be replaced", code="commit_failed") from error

    async def checkpoint(self) -> None:
        """Write a checkpoint of the present version. A checkpoint that is being written is completed first."""
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        if self._delta_writer.checkpointed < self.version:
            self._checkpoint = asyncio.create_task(self._make_checkpoint())
            await asyncio.wait([self._checkpoint])

    async def close(self) -> None:
        """Commit the queued rows, then stop."""
        self._closing = True
        self._wake.set()
        await self._task
        if self._checkpoint is not None:
            await self._checkpoint
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._take()
                rows = [row for pending in batch for row in pending.rows]
                began = time.perf_counter()
                try:
                    seen = await loop.run_in_executor(self._thread, self._delta_writer.commit, rows, batch[-1].txn_version)
                except Exception as error:
                    log.exception("commit to %s failed", self._delta_writer.table.name)
                    self._failures.inc()
                    self._report_landed(error.seen if isinstance(error, CommitError) else [])
                    self._doubtful.append(batch)
                    self._failed_txn_version = (
                        batch[-1].txn_version if batch[-1].txn_version == self._last_txn_version else None
                    )
                    self._fail(batch, error)
                else:
                    self._count(batch, len(rows), began)
                    self._report_landed(seen)
                    # Commits of unknown outcome cannot arrive any more, because the versions that they aimed at are
                    # taken.
                    self._doubtful.clear()
                    self.on_committed(rows)
                    self._acknowledge(batch)

    def _take(self) -> list[_Pending]:
        batch = [self._pending.popleft()]
        num_rows = len(batch[0].rows)
        while self._pending and num_rows + len(self._pending[0].rows) <= MAX_COMMIT_ROWS:
            num_rows += len(self._pending[0].rows)
            batch.append(self._pending.popleft())
        return batch

    def _count(self, batch: list[_Pending], num_rows: int, began: float) -> None:
        name = self._delta_writer.table.name
        COMMITS.labels(name, "done").inc()
        COMMITTED_ROWS.labels(name).inc(num_rows)
        COMMIT_SECONDS.labels(name).observe(time.perf_counter() - began)
        COMMIT_WAIT.observe(began - batch[0].since)

    def _report_landed(self, seen: list[int]) -> None:
        for batch in self._doubtful:
            if batch[-1].txn_version in seen:
                rows = [row for pending in batch for row in pending.rows]
                self.on_landed(rows)
                self.on_committed(rows)
        if seen:
            self._doubtful = [batch for batch in self._doubtful if batch[-1].txn_version > max(seen)]

    def _fail(self, batch: list[_Pending], error: Exception) -> None:
        for pending in batch:
            if not pending.done.done():
                name = self._delta_writer.table.name
                answer = storage_error(error, f"the table {name}", "commit_failed")
                answer.__cause__ = error
                pending.done.set_exception(answer)

    def _acknowledge(self, batch: list[_Pending]) -> None:
        for pending in batch:
            if not pending.done.done():
                pending.done.set_result(self.version)
        self._checkpoint_if_due()

    def _checkpoint_if_due(self) -> None:
        idle = self._checkpoint is None or self._checkpoint.done()
        if idle and self._delta_writer.checkpoint_is_due:
            self._checkpoint = asyncio.create_task(self._make_checkpoint())

    async def _make_checkpoint(self) -> None:
        try:
            await asyncio.to_thread(self._delta_writer.write_checkpoint)
        except Exception:
            # The log is complete without a checkpoint; the next commit past the interval starts another.
            log.exception("checkpoint of %s failed", self._delta_writer.table.name)
