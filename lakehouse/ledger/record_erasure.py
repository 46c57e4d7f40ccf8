"""Erases renders and conversations from objects and tables.

Each step may be repeated. Objects are erased first, because the rows name them. Readers then reopen the tables, so no
process still holds an erased row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import polars as pl

from lakehouse.ledger.change_feed import ChangeFeed
from lakehouse.shared_files import erase_shared
from lakehouse.storage.objects import Objects
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.predicates import quoted
from lakehouse.tables.table_reader import TableReader

CONVERSATION_TABLES: Final = ("tool_calls", "turns", "conversations")
"""In the order of their erasure: the row of the conversation goes last."""


class RecordEraser:
    """Erases rows of ``tts_renders``, ``conversations``, ``turns`` and ``tool_calls`` with their objects."""

    def __init__(self, writers: Mapping[str, TableWriter], objects: Objects, feed: ChangeFeed) -> None:
        self._writers = writers
        self._objects = objects
        self._feed = feed

    async def has_render(self, account: str, render_id: int) -> bool:
        """Whether the account has this render."""
        return not (await self._rows("tts_renders", account, pl.col("id") == render_id)).is_empty()

    async def has_conversation(self, account: str, session_id: str) -> bool:
        """Whether the account has this conversation."""
        return not (await self._rows("conversations", account, pl.col("session_id") == session_id)).is_empty()

    async def render(self, account: str, render_id: int) -> None:
        """Erase a render. Raises Unavailable."""
        rows = await self._rows("tts_renders", account, pl.col("id") == render_id)
        await self._erase_objects(rows)
        await self._delete("tts_renders", f"account = {quoted(account)} AND id = {render_id}")
        await erase_shared(self._objects, [account])

    async def conversation(self, account: str, session_id: str) -> None:
        """Erase a conversation. Raises Unavailable."""
        await self._erase_objects(await self._rows("conversations", account, pl.col("session_id") == session_id))
        for table in CONVERSATION_TABLES:
            rows = await self._rows(table, account, pl.col("session_id") == session_id)
            if not rows.is_empty():
                # The ids prune files, because files have no statistics of session ids.
                low, high = rows.select(pl.min("id"), pl.max("id").alias("last")).row(0)
                await self._delete(
                    table,
                    f"account = {quoted(account)} AND id >= {low} AND id <= {high} AND session_id = {quoted(session_id)}",
                )
        await erase_shared(self._objects, [account])

    async def account(self, account: str) -> None:
        """Erase all renders and conversations of an account. Raises Unavailable."""
        for table in ("tts_renders", "conversations"):
            await self._erase_objects(await self._rows(table, account, pl.lit(True)))
        for table in ("tts_renders", *CONVERSATION_TABLES):
            await self._delete(table, f"account = {quoted(account)}")

    async def _rows(self, table: str, account: str, wanted: pl.Expr) -> pl.DataFrame:
        """Columns id and, of tables with objects, audio_key."""
        writer = self._writers[table]
        columns = [name for name in ("id", "audio_key") if name in writer.table.schema.names]
        mine = (pl.col("account") == account) & wanted
        reader = TableReader(writer.uri)
        return await asyncio.to_thread(reader.collect, lambda rows: rows.filter(mine).select(columns), writer.version)

    async def _erase_objects(self, rows: pl.DataFrame) -> None:
        for key in rows["audio_key"].drop_nulls().unique():
            await self._objects.delete(key)

    async def _delete(self, table: str, predicate: str) -> None:
        await self._writers[table].delete(predicate)
        self._feed.restart(table)
