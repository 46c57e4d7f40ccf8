"""Group commit: one table, one writer thread, no lingering. Rows that arrive while a commit runs are the next commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lakehouse.appender import Appender, CommitError, Row
from lakehouse.location import Location
from lakehouse.maintenance.files import Exchange
from schemas.errors import Unavailable
from schemas.tables import Table

log = logging.getLogger(__name__)

MAX_COMMIT_ROWS = 16_384

__all__ = ["Row", "TableWriter"]


@dataclass(slots=True)
class _Pending:
    rows: list[Row]
    mark: int
    done: asyncio.Future[int]


def _allow() -> None:
    return


def _ignore(_rows: list[Row]) -> None:
    return


class TableWriter:
    """The only writer of one table. ``close`` it, or its thread stays."""

    def __init__(self, appender: Appender, thread: ThreadPoolExecutor) -> None:
        self.on_landed: Callable[[list[Row]], None] = _ignore
        """Told of rows whose ``append`` raised but that are in the table after all, before later ones are acknowledged."""
        self.on_committed: Callable[[list[Row]], None] = _ignore
        """Told of every row the table gained, in order, before its ``append`` is acknowledged."""
        self._appender = appender
        self._thread = thread
        self._last_mark = appender.mark
        self._failed_mark: int | None = None
        self._pending: deque[_Pending] = deque()
        self._doubtful: list[list[_Pending]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._checkpoint: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run(), name=f"commit-{appender.table.name}")

    @classmethod
    async def open(
        cls,
        table: Table,
        location: Location,
        *,
        app_id: str,
        checkpoint_interval: int,
        guard: Callable[[], None] = _allow,
    ) -> TableWriter:
        """Open the table, made first if it is not there. ``guard`` is called before every commit; it forbids by raising."""
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"commit-{table.name}")
        try:
            appender = await asyncio.get_running_loop().run_in_executor(
                thread,
                lambda: Appender(table, location, app_id=app_id, checkpoint_interval=checkpoint_interval, guard=guard),
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(appender, thread)

    @property
    def table(self) -> Table:
        return self._appender.table

    @property
    def uri(self) -> str:
        return self._appender.uri

    @property
    def version(self) -> int:
        """Version of the last commit."""
        return self._appender.version

    @property
    def mark(self) -> int:
        """Mark of the last commit; -1 before the first."""
        return self._appender.mark

    def append(self, rows: list[Row], mark: int | None = None) -> asyncio.Future[int]:
        """Queue ``rows`` (never empty) for the next commit; the future gives the version that holds them, once durable.

        Rows are committed in the order of calls, all rows of a call in one commit. ``mark`` must grow from call to call; by
        default it counts. The future raises Unavailable when the commit failed: then the rows are most likely absent, and
        ``on_landed`` is told if not. The very same rows may be sent again under the very same mark, if they were alone in
        their commit and nothing was sent since. Cancelling the future does not take the rows back.
        """
        name = self._appender.table.name
        if self._closing:
            raise Unavailable(f"the table {name} is closed", code="closed")
        mark = self._last_mark + 1 if mark is None else mark
        if mark <= self._last_mark and mark != self._failed_mark:
            raise ValueError(f"mark {mark} of {name} does not follow {self._last_mark}")
        self._last_mark, self._failed_mark = mark, None
        pending = _Pending(rows, mark, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._wake.set()
        return pending.done

    async def delete(self, predicate: str) -> None:
        """Remove rows between two commits, durably; see `Appender.delete`. Raises Unavailable."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._appender.delete, predicate)
        except CommitError as error:
            name = self._appender.table.name
            raise Unavailable(f"rows of the table {name} could not be removed", code="commit_failed") from error

    async def exchange(self, change: Exchange) -> bool:
        """Put files in the place of others between two commits; see `Appender.exchange`. Raises Unavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._appender.exchange, change)
        except CommitError as error:
            name = self._appender.table.name
            raise Unavailable(f"files of the table {name} could not be exchanged", code="commit_failed") from error

    async def checkpoint(self) -> None:
        """Write a checkpoint of the version at hand, after one that is being written."""
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        if self._appender.checkpointed < self.version:
            self._checkpoint = asyncio.create_task(self._make_checkpoint())
            await asyncio.wait([self._checkpoint])

    async def close(self) -> None:
        """Commit what is queued, then stop."""
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
                try:
                    seen = await loop.run_in_executor(self._thread, self._appender.commit, rows, batch[-1].mark)
                except Exception as error:
                    log.exception("commit to %s failed", self._appender.table.name)
                    self._tell_landed(error.seen if isinstance(error, CommitError) else [])
                    self._doubtful.append(batch)
                    self._failed_mark = batch[-1].mark if batch[-1].mark == self._last_mark else None
                    self._fail(batch, error)
                else:
                    self._tell_landed(seen)
                    # The versions they might still have taken are taken now.
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

    def _tell_landed(self, seen: list[int]) -> None:
        for batch in self._doubtful:
            if batch[-1].mark in seen:
                rows = [row for pending in batch for row in pending.rows]
                self.on_landed(rows)
                self.on_committed(rows)
        if seen:
            self._doubtful = [batch for batch in self._doubtful if batch[-1].mark > max(seen)]

    def _fail(self, batch: list[_Pending], error: Exception) -> None:
        for pending in batch:
            if not pending.done.done():
                name = self._appender.table.name
                answer = Unavailable(f"the table {name} could not be written; try again", code="commit_failed")
                answer.__cause__ = error
                pending.done.set_exception(answer)

    def _acknowledge(self, batch: list[_Pending]) -> None:
        for pending in batch:
            if not pending.done.done():
                pending.done.set_result(self.version)
        idle = self._checkpoint is None or self._checkpoint.done()
        if idle and self._appender.checkpoint_is_due:
            self._checkpoint = asyncio.create_task(self._make_checkpoint())

    async def _make_checkpoint(self) -> None:
        try:
            await asyncio.to_thread(self._appender.write_checkpoint)
        except Exception:
            # The log is whole without it; the next commit past the interval asks for another.
            log.exception("checkpoint of %s failed", self._appender.table.name)
