"""Conversations in progress: rows are written during the conversation, so that a crash loses no finished turn.

A conversation's row is written when it begins, and again, with a higher revision, when it ends. The sender gives each turn
and tool call a key. Conversations in progress are held in memory, and are loaded from the tables after a restart.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import polars as pl

from lakehouse.ledger.append_table import AppendTable
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.record_rows import ENDED, LIVE, tool_call_row, turn_row
from lakehouse.tables.group_commit import Row
from lakehouse.tables.table_reader import Query
from schemas.errors import NotFound
from schemas.records import Conversation, ConversationEnd, ConversationTurn, LiveEntry, title_of_turn
from schemas.titles import title_of

ABANDONED_AFTER: Final = dt.timedelta(minutes=75)
"""A session lasts at most an hour. A conversation without a call for longer has lost its gateway, and is ended."""

T = TypeVar("T")

Identity = tuple[str, str]
"""(account, session id)."""


@dataclass(slots=True)
class _Live:
    """``row`` is the first one of the conversation; ids of committed turns and tool calls are stored by key."""

    row: Row
    last_heard: dt.datetime
    heard_at: float
    """`last_heard` by the monotonic clock, so a step of the wall clock never makes a conversation abandoned."""
    begun: asyncio.Future[None]
    title: str | None = None
    """From the user's first turn that has words."""
    turns: dict[str, asyncio.Future[int]] = field(default_factory=dict)
    tool_calls: dict[str, asyncio.Future[int]] = field(default_factory=dict)
    ended: asyncio.Future[None] | None = None


class LiveConversations:
    """Writes ``conversations``, ``turns`` and ``tool_calls`` of conversations in progress."""

    def __init__(self, conversations: AppendTable, turns: AppendTable, tool_calls: AppendTable, clock: Clock) -> None:
        self._conversations = conversations
        self._turns = turns
        self._tool_calls = tool_calls
        self._clock = clock
        self._live: dict[Identity, _Live] = {}

    async def load(self) -> None:
        """Load conversations that have not ended, with the keys of their turns and tool calls."""
        frame = await self._conversations.collect(_going_on)
        for row in frame.to_dicts():
            identity = row["account"], row["session_id"]
            self._live[identity] = _Live(row, self._clock.utc(), self._clock.monotonic(), _done(None))
        if not self._live:
            return
        sessions = [session for _, session in self._live]
        for table, name in ((self._turns, "turns"), (self._tool_calls, "tool_calls")):
            for account, session, key, row_id in (await table.collect(_keys_of(sessions))).iter_rows():
                if (live := self._live.get((account, session))) is not None:
                    getattr(live, name)[key] = _done(row_id)
        for account, session, text in (await self._turns.collect(_said_by_users(sessions))).iter_rows():
            if (live := self._live.get((account, session))) is not None:
                live.title = live.title or title_of(text)

    def has(self, account: str, session_id: str) -> bool:
        """Whether the conversation is in progress."""
        return (account, session_id) in self._live

    def forget(self, account: str) -> None:
        """Drop an account's conversations: no further rows of them are written."""
        for identity in [one for one in self._live if one[0] == account]:
            del self._live[identity]

    async def begin(self, conversation: Conversation) -> int:
        """See `RecordLedger.begin_conversation`."""
        identity = conversation.account, conversation.session_id
        live = self._live.get(identity)
        if live is None:
            row = _first_row(conversation, *self._conversations.ids.next())
            live = _Live(row, self._clock.utc(), self._clock.monotonic(), _done(None))
            live.begun = asyncio.ensure_future(self._write_first(live))
            self._live[identity] = live
            live.begun.add_done_callback(lambda begun: self._forget_failed(identity, begun))
        await asyncio.shield(live.begun)
        return int(live.row["id"])

    async def add(self, account: str, session_id: str, key: str, entry: LiveEntry) -> int:
        """See `RecordLedger.add_entry`."""
        live = self._of(account, session_id)
        live.last_heard, live.heard_at = self._clock.utc(), self._clock.monotonic()
        is_turn = isinstance(entry, ConversationTurn)
        known = live.turns if is_turn else live.tool_calls
        if key not in known:
            if isinstance(entry, ConversationTurn):
                live.title = live.title or title_of_turn(entry)
                row = turn_row(account, session_id, entry, self._turns.ids, key)
            else:
                row = tool_call_row(account, session_id, entry, self._tool_calls.ids, key)
            table = self._turns if is_turn else self._tool_calls
            known[key] = written = asyncio.ensure_future(_written(table, (account, session_id, key), row))
            written.add_done_callback(lambda done: known.pop(key, None) if _failed(done) else None)
        return await asyncio.shield(known[key])

    async def end(self, account: str, session_id: str, end: ConversationEnd) -> int:
        """See `RecordLedger.end_conversation`."""
        live = self._live.get((account, session_id))
        if live is None:
            known = await self._conversations.known(account, "session_id", [session_id])
            if session_id not in known:
                raise _unknown(session_id)
            return known[session_id]
        await self._end(live, end)
        return int(live.row["id"])

    async def end_abandoned(self) -> list[tuple[str, str, ConversationEnd]]:
        """End conversations that lost their gateway. Returns account, session and end of each."""
        before = self._clock.monotonic() - ABANDONED_AFTER.total_seconds()
        ended = []
        for live in [one for one in self._live.values() if one.heard_at < before]:
            lasted = max(0.0, (live.last_heard - live.row["started_at"]).total_seconds())
            end = ConversationEnd(live.last_heard, lasted)
            await self._end(live, end)
            ended.append((live.row["account"], live.row["session_id"], end))
        return ended

    async def ended_since(self, moment: dt.datetime) -> list[Row]:
        """Account, session, end and duration of conversations that ended from ``moment`` on."""
        return (await self._conversations.collect(lambda table: _ended_since(table, moment))).to_dicts()

    async def _end(self, live: _Live, end: ConversationEnd) -> None:
        if live.ended is None:
            live.ended = asyncio.ensure_future(self._write_end(live, end))
        ended = live.ended
        try:
            await asyncio.shield(ended)
        except Exception:
            live.ended = None  # so that a repeated call writes again
            raise

    async def _write_first(self, live: _Live) -> None:
        identity = live.row["account"], live.row["session_id"], "begin"
        live.row = await self._conversations.append_once(identity, live.row)

    async def _write_end(self, live: _Live, end: ConversationEnd) -> None:
        await asyncio.gather(*live.turns.values(), *live.tool_calls.values(), return_exceptions=True)
        row = {
            **live.row,
            "ended_at": end.ended_at,
            "duration_secs": end.duration_secs,
            "turn_count": len(live.turns),
            "cost_usd": end.cost_usd,
            "audio_key": end.audio_key,
            "title": live.title,
            "revision": ENDED,
        }
        await self._conversations.append_once((row["account"], row["session_id"], "end"), row)
        self._live.pop((row["account"], row["session_id"]), None)

    def _of(self, account: str, session_id: str) -> _Live:
        live = self._live.get((account, session_id))
        if live is None or live.ended is not None:
            raise _unknown(session_id)
        return live

    def _forget_failed(self, identity: Identity, begun: asyncio.Future[None]) -> None:
        if _failed(begun):
            self._live.pop(identity, None)


def _first_row(conversation: Conversation, row_id: int, created_at: dt.datetime) -> Row:
    return {
        "id": row_id,
        "account": conversation.account,
        "created_at": created_at,
        "session_id": conversation.session_id,
        "voice": conversation.voice,
        "started_at": conversation.started_at,
        "ended_at": None,
        "duration_secs": None,
        "turn_count": 0,
        "cost_usd": None,
        "revision": LIVE,
        "audio_key": None,
        "title": None,
        "continues": conversation.continues,
    }


async def _written(table: AppendTable, identity: tuple[str, str, str], row: Row) -> int:
    return int((await table.append_once(identity, row))["id"])


def _going_on(table: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of conversations that have not ended."""
    ended = table.filter(pl.col("revision") == ENDED).select("id")
    return table.filter(pl.col("revision") == LIVE).join(ended, on="id", how="anti")


def _ended_since(table: pl.LazyFrame, moment: dt.datetime) -> pl.LazyFrame:
    """Ended conversations that were recorded in progress. Imported ones have no row of their beginning."""
    begun = table.filter(pl.col("revision") == LIVE).select("id")
    ended = table.filter((pl.col("revision") == ENDED) & (pl.col("ended_at") >= moment))
    return ended.join(begun, on="id", how="semi").select("account", "session_id", "ended_at", "duration_secs")


def _keys_of(sessions: list[str]) -> Query:
    wanted = pl.col("session_id").is_in(sessions) & pl.col("entry_key").is_not_null()
    return lambda table: table.filter(wanted).select("account", "session_id", "entry_key", "id")


def _said_by_users(sessions: list[str]) -> Query:
    wanted = pl.col("session_id").is_in(sessions) & (pl.col("role") == "user")
    return lambda table: table.filter(wanted).sort("id").select("account", "session_id", "text")


def _done(value: T) -> asyncio.Future[T]:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def _failed(future: asyncio.Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _unknown(session_id: str) -> NotFound:
    return NotFound(f"no conversation {session_id[:60]!r} is in progress in this account", param="session_id")
