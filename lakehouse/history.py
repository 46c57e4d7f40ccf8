"""Questions about what accounts did: one row, a page with its exact total, the merged feed, a conversation's turns.

Every answer holds what the ledger acknowledged before the question. Rows are dicts of a table's columns but for
``lexemes``. Rows are read only when they are returned; see `runs` for how a page is found.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import polars as pl

from lakehouse.blocks import DEFAULT_BYTES, BlockCache
from lakehouse.follow import ChangeSource, Follower
from lakehouse.keys import KEY_SPECS, hashes
from lakehouse.location import Location
from lakehouse.runs import Clip, Found, Run, clip, page
from lakehouse.snapshot import Row, Snapshot
from lakehouse.tail import AccountView, microseconds

T = TypeVar("T")
Order = Literal["asc", "desc"]

FIRST_SLICE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Page:
    """``total`` counts all rows that match; ``rows`` are this page's."""

    total: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """As `Page`; each row with the table it is from."""

    total: int
    rows: list[tuple[str, Row]]


class History:
    """Reads for one process, safe beside the ledger's writes and maintenance. All raise Unavailable without a ledger."""

    def __init__(self, location: Location, source: ChangeSource, *, cache_bytes: int = DEFAULT_BYTES) -> None:
        cache = BlockCache(cache_bytes)
        self._followers = {name: Follower(name, location.table_uri(name), source, cache) for name in KEY_SPECS}

    async def close(self) -> None:
        for follower in self._followers.values():
            await follower.close()

    def snapshot(self, table: str) -> Snapshot | None:
        """The snapshot of ``table`` that is read at present; None before its first read."""
        return self._followers[table].snapshot

    async def get(self, table: str, account: str, row_id: int) -> Row | None:
        """One row of the account; None if it is absent, deleted or another's."""
        return await self.read((table,), account, lambda views: _told(views[0].row(row_id)))

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
        """Page ``page``, from 1, by time. ``since`` and ``until`` are inclusive; ``filters`` is by status or by voice."""
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
        """As ``page``, by the number of rows to skip. Raises KeyError for a filter the table has not."""
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
        page: int = 1,
        limit: int = 20,
        order: Order = "desc",
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
    ) -> FeedPage:
        """A page of ``tables`` merged by time."""

        def read(views: Sequence[AccountView]) -> FeedPage:
            total, rows = _page(views, None, since, until, (page - 1) * limit, limit, order)
            return FeedPage(total, [(tables[number], row) for number, row in rows])

        return await self.read(tables, account, read)

    async def conversation(self, account: str, session_id: str) -> Row | None:
        """The conversation clients know as ``session_id``; the latest, should there be several."""
        rows = await self._of_session("conversations", account, session_id, None)
        return rows[-1] if rows else None

    async def turns(self, account: str, session_id: str, limit: int) -> list[Row]:
        """The first ``limit`` turns of a conversation, in order."""
        return await self._of_session("turns", account, session_id, limit)

    async def tool_calls(self, account: str, session_id: str, limit: int | None = None) -> list[Row]:
        """The first ``limit`` tool calls of a conversation, in order; None for all."""
        return await self._of_session("tool_calls", account, session_id, limit)

    async def scan(self, table: str, account: str, consume: Callable[[Iterator[pl.DataFrame]], T]) -> T:
        """What ``consume`` makes, on a thread, of all rows of the account, newest first, in slices that double.

        It may stop early; it is called again from the start if files went away meanwhile. All columns are there.
        """
        return await self.read((table,), account, lambda views: consume(_slices(views[0])))

    async def _of_session(self, table: str, account: str, session_id: str, limit: int | None) -> list[Row]:
        wanted = hashes(pl.Series([session_id]))[0]

        def read(views: Sequence[AccountView]) -> list[Row]:
            clips = [Clip(run, 0, len(run)) for run in (run.where_hash(wanted) for run in views[0].runs)]
            total = sum(map(len, clips))
            # Other sessions with the same hash may stand between, so the limit is applied to what was read.
            found = page(clips, 0, total, descending=False)
            rows = [row for row in _rows([c.run for c in clips], found) if row["session_id"] == session_id]
            return rows[:limit]

        return await self.read((table,), account, read)

    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[AccountView]], T]) -> T:
        """``read`` on a thread, and once more over new snapshots if a file was merged and vacuumed away meanwhile."""
        followers = [self._followers[table] for table in tables]
        views = await asyncio.gather(*(follower.view(account) for follower in followers))
        try:
            return await asyncio.to_thread(read, views)
        except (OSError, pl.exceptions.ComputeError):
            for follower, view in zip(followers, views, strict=True):
                await follower.reopen(view.snapshot)
        return await asyncio.to_thread(read, await asyncio.gather(*(follower.view(account) for follower in followers)))


def _filter_value(table: str, filters: Mapping[str, str] | None) -> str | None:
    unknown = set(filters or ()) - {KEY_SPECS[table].code}
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
    clips = [clip(run, first, last) for _, run in runs]
    found = page(clips, offset, limit, descending=order == "desc")
    rows = _rows([run for _, run in runs], found)
    return sum(map(len, clips)), [(runs[item.source][0], row) for item, row in zip(found, rows, strict=True)]


def _rows(runs: Sequence[Run], found: Sequence[Found]) -> list[Row]:
    """Read the rows, those of one part at once, and put them in the order found."""
    rows: list[Row] = [{}] * len(found)
    for source, run in enumerate(runs):
        ranks = [rank for rank, item in enumerate(found) if item.source == source]
        if ranks:
            frame = run.part.read(np.array([found[rank].place for rank in ranks]))
            for rank, row in zip(ranks, frame.to_dicts(), strict=True):
                rows[rank] = _shown(row)
    return rows


def _slices(view: AccountView) -> Iterator[pl.DataFrame]:
    clips = [Clip(run, 0, len(run)) for run in view.runs]
    offset, length, total = 0, FIRST_SLICE_ROWS, sum(map(len, clips))
    while offset < total:
        yield _frame([c.run for c in clips], page(clips, offset, length, descending=True))
        offset, length = offset + length, length * 2


def _frame(runs: Sequence[Run], found: Sequence[Found]) -> pl.DataFrame:
    frames = []
    for source, run in enumerate(runs):
        ranks = [rank for rank, item in enumerate(found) if item.source == source]
        if ranks:
            frame = run.part.read(np.array([found[rank].place for rank in ranks]))
            frames.append(frame.with_columns(pl.Series("rank", ranks, pl.Int64)))
    return frames[0].drop("rank") if len(frames) == 1 else pl.concat(frames).sort("rank").drop("rank")


def _shown(row: Row) -> Row:
    row.pop("lexemes", None)
    return row


def _told(row: Row | None) -> Row | None:
    return None if row is None else _shown(row)
