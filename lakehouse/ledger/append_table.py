"""One append-only table of records: writer, allocation of ids, and reads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, TypeAlias

import polars as pl

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.tables.group_commit import Row, TableWriter
from lakehouse.tables.table_reader import Query

_MOST_TRIED: Final = 10_000
"""Most rows of failed appends that are held in memory for a repeated call."""

Attempt: TypeAlias = tuple[str, ...]
"""What a repeated call has in common with the first one: the account, and names within it."""


class AppendTable:
    """Adds rows in the order of calls. An id is allocated when its row is queued.

    The commit of an append that raised may still be in the table, or arrive there later. Before the table is asked for
    known rows, a commit without rows takes the version that such a commit aimed at.
    """

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self.ids = Allocator(clock)
        self._writer = writer
        self._reader = writer.reader()
        self._in_doubt = False
        """Whether an append failed since the last commit without rows."""
        self._tried: dict[Attempt, Row] = {}
        """Rows of `append_once` whose append is under way or failed."""

    async def load(self) -> None:
        self.ids.restore(await asyncio.to_thread(self._reader.highest, ("id", "created_at"), self._writer.version))

    async def append(self, rows: list[Row]) -> None:
        if not rows:
            return
        try:
            await self._writer.append(rows)
        except BaseException:
            self._in_doubt = True
            raise

    def forget(self, account: str) -> None:
        """Drop an account's rows from memory."""
        self._tried = {attempt: row for attempt, row in self._tried.items() if attempt[0] != account}

    async def append_once(self, attempt: Attempt, row: Row) -> Row:
        """Append ``row``, unless the row of an earlier call with ``attempt``, which raised, is in the table after all.

        Returns the row that is in the table. Calls with the same attempt must not overlap.
        """
        tried = self._tried.get(attempt)
        if tried is not None and await self._has(tried):
            self._tried.pop(attempt, None)
            return tried
        self._tried[attempt] = row
        if len(self._tried) > _MOST_TRIED:
            del self._tried[next(iter(self._tried))]
        await self.append([row])
        self._tried.pop(attempt, None)
        return row

    async def known(self, account: str, column: str, values: Collection[str]) -> dict[str, int]:
        """The highest id of an account's rows for each of ``values`` in ``column``."""
        if not values:
            return {}
        await self._settle()
        wanted = (pl.col("account") == account) & pl.col(column).is_in(list(values))
        frame = await self.collect(lambda table: table.filter(wanted).select(column, "id"))
        return dict(frame.sort("id").iter_rows())

    async def collect(self, query: Query) -> pl.DataFrame:
        return await asyncio.to_thread(self._reader.collect, query, self._writer.version)

    async def _settle(self) -> None:
        """Make the outcome of failed appends known. Raises Unavailable."""
        if self._in_doubt:
            self._in_doubt = False
            try:
                await self._writer.append([])
            except BaseException:
                self._in_doubt = True
                raise

    async def _has(self, row: Row) -> bool:
        await self._settle()
        same = pl.col("id") == row["id"]
        if "revision" in row:
            same &= pl.col("revision") == row["revision"]
        return not (await self.collect(lambda table: table.filter(same).select("id"))).is_empty()
