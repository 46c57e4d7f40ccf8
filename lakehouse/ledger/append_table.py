"""One append-only table of records: writer, allocation of ids, and reads."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import polars as pl

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.tables.group_commit import Row, TableWriter
from lakehouse.tables.table_reader import Query


class AppendTable:
    """Adds rows in the order of calls. An id is allocated when its row is queued."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self.ids = Allocator(clock)
        self._writer = writer
        self._reader = writer.reader()

    async def load(self) -> None:
        self.ids.restore(await asyncio.to_thread(self._reader.highest, ("id", "created_at"), self._writer.version))

    async def append(self, rows: list[Row]) -> None:
        if rows:
            await self._writer.append(rows)

    async def known(self, account: str, column: str, values: Collection[str]) -> dict[str, int]:
        """The highest id of an account's rows for each of ``values`` in ``column``."""
        if not values:
            return {}
        wanted = (pl.col("account") == account) & pl.col(column).is_in(list(values))
        frame = await self.collect(lambda table: table.filter(wanted).select(column, "id"))
        return dict(frame.sort("id").iter_rows())

    async def collect(self, query: Query) -> pl.DataFrame:
        return await asyncio.to_thread(self._reader.collect, query, self._writer.version)
