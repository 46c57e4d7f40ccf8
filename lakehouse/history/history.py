"""Reads an account's history: single rows, pages with exact totals, the merged feed, and conversations.

Every answer includes what the ledger acknowledged before the call. Rows are dicts of a table's columns without ``lexemes``.
Pages are found from indexes, and only the rows that are returned are read; see `sorted_rows`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import polars as pl

from lakehouse.history.follower import BuildAhead, ChangeSource, Follower
from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_group_cache import DEFAULT_BYTES, RowGroupCache
from lakehouse.history.row_index import hashes
from lakehouse.history.snapshot import Row, Snapshot
from lakehouse.history.sorted_rows import Found, RankRange, SortedRows, page, ranks_between
from lakehouse.history.tail import AccountView, microseconds
from lakehouse.storage.location import Location
from lakehouse.tables.index_specs import INDEX_SPECS
from schemas.tables import table as table_named

T = TypeVar("T")
Order = Literal["asc", "desc"]

log = logging.getLogger(__name__)

FIRST_SLICE_ROWS = 1024
SINGLE_ROWS: Final = ("transcriptions", "tts_renders", "conversations")
"""Tables whose rows are also stored in small blocks, because they are read one by one."""
_CLEANING_SECS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Page:
    """``rows`` of one page, and the ``total`` of all pages."""

    total: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """As `Page`, with the table of each row."""

    total: int
    rows: list[tuple[str, Row]]


class History:
    """Reads for one process, beside the ledger's writes and maintenance. Methods raise Unavailable without a ledger."""

    def __init__(
        self,
        location: Location,
        source: ChangeSource,
        *,
        cache_bytes: int = DEFAULT_BYTES,
        index_folder: Path | None = None,
    ) -> None:
        """``index_folder``: where row indexes are stored for all readers of this machine; None keeps them in memory."""
        cache = RowGroupCache(cache_bytes)
        self._followers = {
            name: Follower(name, location.table_uri(name), source, cache, _index_files(index_folder, name))
            for name in INDEX_SPECS
        }

    def build_ahead(self, build: BuildAhead) -> None:
        """Have ``build`` ready what it needs of each new snapshot, before reads get that snapshot."""
        for follower in self._followers.values():
            follower.build_ahead = build

    async def run(self) -> None:
        """Remove cached indexes of erased rows every hour, and at once when it starts. Runs until it is cancelled."""
        while True:
            for follower in self._followers.values():
                try:
                    await follower.drop_old_indexes()
                except Exception:
                    log.exception("old indexes could not be removed; trying again in an hour")
            await asyncio.sleep(_CLEANING_SECS)

    async def wait_until_stored(self) -> None:
        """Wait until the row blocks that earlier reads started are made. Without them single rows take longer."""
        for follower in self._followers.values():
            await asyncio.to_thread(follower.wait_until_stored)

    async def close(self) -> None:
        """Stop following the tables."""
        for follower in self._followers.values():
            await follower.close()

    def snapshot(self, table: str) -> Snapshot | None:
        """The present snapshot of ``table``; None before its first read."""
        return self._followers[table].snapshot

    async def get(self, table: str, account: str, row_id: int) -> Row | None:
        """One row of the account; None if it does not exist, was deleted, or is another account's."""
        return await self.read((table,), account, lambda views: views[0].row(row_id))

    async def page(
        self,
        table: str,
        account: str,
        *,
        page: int = 1,
        limit: int = 20,
        order: Order = "desc",
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        filters: Mapping[str, str] | None = None,
    ) -> Page:
        """Page ``page``, counted from 1, by time. ``since`` and ``until`` are inclusive. ``filters``: column to value.

        Tables have at most one column to filter by, see `INDEX_SPECS`. Raises KeyError for another one.
        """
        return await self.slice(
            table, account, (page - 1) * limit, limit, order=order, since=since, until=until, filters=filters
        )

    async def slice(
        self,
        table: str,
        account: str,
        offset: int,
        limit: int,
        *,
        order: Order = "desc",
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        filters: Mapping[str, str] | None = None,
    ) -> Page:
        """As `page`, with the number of rows to skip."""
        value = _filter_value(table, filters)

        def read(views: Sequence[AccountView]) -> Page:
            total, rows = _page(views, value, since, until, offset, limit, order)
            return Page(total, [row for _, row in rows])

        return await self.read((table,), account, read)

    async def feed(
        self,
        account: str,
        tables: Sequence[str] = ("transcriptions", "tts_renders", "conversations"),
        *,
        offset: int = 0,
        limit: int = 20,
        order: Order = "desc",
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
    ) -> FeedPage:
        """Rows of several tables, merged by time, from ``offset`` on."""

        def read(views: Sequence[AccountView]) -> FeedPage:
            total, rows = _page(views, None, since, until, offset, limit, order)
            return FeedPage(total, [(tables[number], row) for number, row in rows])

        return await self.read(tables, account, read)

    async def conversation(self, account: str, session_id: str) -> Row | None:
        """The conversation with this session id, the latest if there are several; None if there is none."""
        rows = await self._of_session("conversations", account, session_id, None)
        return rows[-1] if rows else None

    async def conversations(self, account: str, session_ids: Collection[str]) -> dict[str, Row]:
        """The same of several session ids, by id. Those of which there is none are left out."""

        def read(views: Sequence[AccountView]) -> dict[str, Row]:
            found = {session_id: _session_rows(views[0], session_id) for session_id in session_ids}
            return {session_id: rows[-1] for session_id, rows in found.items() if rows}

        return await self.read(("conversations",), account, read)

    async def turns(self, account: str, session_id: str, limit: int | None) -> list[Row]:
        """The first ``limit`` turns of a conversation, in order; None for all."""
        return await self._of_session("turns", account, session_id, limit)

    async def tool_calls(self, account: str, session_id: str, limit: int | None = None) -> list[Row]:
        """The first ``limit`` tool calls of a conversation, in order; None for all."""
        return await self._of_session("tool_calls", account, session_id, limit)

    async def scan(self, table: str, account: str, consume: Callable[[Iterator[pl.DataFrame]], T]) -> T:
        """The result of ``consume``, called on a thread with all rows of the account, newest first, in slices that double.

        Slices have all columns. ``consume`` may stop early. It is called again from the start if a file was vacuumed
        meanwhile.
        """
        return await self.read((table,), account, lambda views: consume(_slices(views[0])))

    async def _of_session(self, table: str, account: str, session_id: str, limit: int | None) -> list[Row]:
        return await self.read((table,), account, lambda views: _session_rows(views[0], session_id)[:limit])

    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[AccountView]], T]) -> T:
        """The result of ``read``, called on a thread with one view a table.

        It is called again with new snapshots if a file was merged and vacuumed meanwhile.
        """
        followers = [self._followers[table] for table in tables]
        views = await asyncio.gather(*(follower.view(account) for follower in followers))
        try:
            return await asyncio.to_thread(read, views)
        except (OSError, pl.exceptions.ComputeError):
            for follower, view in zip(followers, views, strict=True):
                await follower.reopen(view.snapshot)
        return await asyncio.to_thread(read, await asyncio.gather(*(follower.view(account) for follower in followers)))


def _index_files(folder: Path | None, name: str) -> IndexFiles | None:
    if folder is None:
        return None
    # Of the other tables no row is read alone.
    return IndexFiles(folder / name, table_named(name).schema.names if name in SINGLE_ROWS else None)


def _filter_value(table: str, filters: Mapping[str, str] | None) -> str | None:
    unknown = set(filters or ()) - {INDEX_SPECS[table].code}
    if unknown:
        raise KeyError(f"{table} cannot be filtered by {', '.join(sorted(map(str, unknown)))}")
    return next(iter(filters.values()), None) if filters else None


def _page(
    views: Sequence[AccountView],
    value: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    offset: int,
    limit: int,
    order: Order,
) -> tuple[int, list[tuple[int, Row]]]:
    """(total, [(number of view, row)]) of the merge of ``views``."""
    runs = [(number, run) for number, view in enumerate(views) for run in view.runs]
    if value is not None:
        runs = [(number, run.where(value)) for number, run in runs]
    first, last = (None if moment is None else microseconds(moment) for moment in (since, until))
    ranges = [ranks_between(run, first, last) for _, run in runs]
    found = page(ranges, offset, limit, descending=order == "desc")
    rows = _rows([run for _, run in runs], found)
    return sum(map(len, ranges)), [(runs[item.source][0], row) for item, row in zip(found, rows, strict=True)]


def _session_rows(view: AccountView, session_id: str) -> list[Row]:
    """The rows of a session, in order."""
    wanted = hashes(pl.Series([session_id]))[0]
    ranges = [RankRange(run, 0, len(run)) for run in (run.where_hash(wanted) for run in view.runs)]
    # Another session may have the same hash, so that rows are told apart after reading.
    found = page(ranges, 0, sum(map(len, ranges)), descending=False)
    return [row for row in _rows([c.run for c in ranges], found) if row["session_id"] == session_id]


def _rows(runs: Sequence[SortedRows], found: Sequence[Found]) -> list[Row]:
    """Read the rows, one read for each run, in the order of ``found``."""
    rows: list[Row] = [{}] * len(found)
    for source, run in enumerate(runs):
        ranks = [rank for rank, item in enumerate(found) if item.source == source]
        if ranks:
            some = run.part.rows(np.array([found[rank].position for rank in ranks]))
            for rank, row in zip(ranks, some, strict=True):
                rows[rank] = row
    return rows


def _slices(view: AccountView) -> Iterator[pl.DataFrame]:
    ranges = [RankRange(run, 0, len(run)) for run in view.runs]
    offset, length, total = 0, FIRST_SLICE_ROWS, sum(map(len, ranges))
    while offset < total:
        yield _frame([c.run for c in ranges], page(ranges, offset, length, descending=True))
        offset, length = offset + length, length * 2


def _frame(runs: Sequence[SortedRows], found: Sequence[Found]) -> pl.DataFrame:
    frames = []
    for source, run in enumerate(runs):
        ranks = [rank for rank, item in enumerate(found) if item.source == source]
        if ranks:
            frame = run.part.read(np.array([found[rank].position for rank in ranks]))
            frames.append(frame.with_columns(pl.Series("rank", ranks, pl.Int64)))
    return frames[0].drop("rank") if len(frames) == 1 else pl.concat(frames).sort("rank").drop("rank")
