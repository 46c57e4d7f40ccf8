"""Rows that are written once and never change: speech renders, conversations with their turns and tool calls.

The sender gives each record an identity (a render's import key, a conversation's session id), so a repeated call, after a
crash or in a second import, changes nothing. Ids are allocated when a row is queued.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from lakehouse.ledger.append_table import AppendTable
from lakehouse.ledger.change_feed import ChangeFeed
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.interface import Publish, Recorded
from lakehouse.ledger.live_conversations import LiveConversations
from lakehouse.ledger.record_rows import audit_row, conversation_row, render_row, tool_call_rows, turn_rows
from lakehouse.tables.group_commit import Row, TableWriter
from schemas.domain import Seconds
from schemas.records import (
    AuditEvent,
    Conversation,
    ConversationEnd,
    ConversationTurn,
    EndedConversation,
    LiveEntry,
    ToolCall,
    TtsRender,
)
from schemas.webhooks import Happened

RECENT = 10_000
"""Number of import keys of renders that are held in memory, because a sender repeats a call soon. Imports look keys up in
the table.
"""


class Records:
    """Writes ``tts_renders``, ``conversations``, ``turns`` and ``tool_calls``. The contract is `RecordLedger`."""

    def __init__(
        self,
        writers: Mapping[str, TableWriter],
        clock: Clock,
        tasks: ChangeTasks,
        feed: ChangeFeed,
        publish: Publish,
        closed: ClosedAccounts,
    ) -> None:
        self.changes = feed.changes
        self._tasks = tasks
        self._publish = publish
        self._closed = closed
        self._renders = AppendTable(writers["tts_renders"], clock)
        self._conversations = AppendTable(writers["conversations"], clock)
        self._turns = AppendTable(writers["turns"], clock)
        self._tool_calls = AppendTable(writers["tool_calls"], clock)
        self._audit = AppendTable(writers["audit_events"], clock)
        self.allocators = {
            "tts_renders": self._renders.ids,
            "conversations": self._conversations.ids,
            "turns": self._turns.ids,
            "tool_calls": self._tool_calls.ids,
        }
        self._live = LiveConversations(self._conversations, self._turns, self._tool_calls, clock)
        self._recent: dict[tuple[str, str], int] = {}
        """Ids of the renders that were recorded last, by account and import key. A finished task instead of an id would
        take a kilobyte more.
        """
        self._under_way: dict[tuple[str, str], asyncio.Future[int]] = {}
        self._import_lock = asyncio.Lock()
        self._conversation_lock = asyncio.Lock()

    def is_live(self, account: str, session_id: str) -> bool:
        """Whether the conversation goes on."""
        return self._live.has(account, session_id)

    def forget(self, account: str) -> None:
        """Drop an account's conversations in progress, import keys and failed rows from memory."""
        self._live.forget(account)
        for table in (self._renders, self._conversations, self._turns, self._tool_calls):
            table.forget(account)
        for known in (self._recent, self._under_way):
            for identity in [one for one in known if one[0] == account]:
                del known[identity]

    async def load(self) -> None:
        """Read the next ids and the import keys of recent renders from the tables."""
        tables = (self._renders, self._conversations, self._turns, self._tool_calls, self._audit)
        await asyncio.gather(*(table.load() for table in tables))
        await self._live.load()
        newest = pl.col("import_key").is_not_null() & (pl.col("id") >= self._renders.ids.next_id - RECENT)
        columns = ("account", "import_key", "id")
        frame = await self._renders.collect(lambda table: table.filter(newest).select(columns))
        for account, key, row_id in frame.sort("id").iter_rows():
            self._recent[account, key] = row_id

    async def add_renders(self, renders: Sequence[TtsRender]) -> list[int]:
        """See `RecordLedger.add_renders`."""
        return await self._tasks.run(self._add_renders(renders))

    async def add_audit(self, events: Sequence[AuditEvent]) -> None:
        """See `RecordLedger.add_audit`."""
        await self._tasks.run(self._audit.append([audit_row(event, self._audit.ids) for event in events]))

    async def add_conversation(
        self, conversation: Conversation, turns: Sequence[ConversationTurn], tool_calls: Sequence[ToolCall] = ()
    ) -> int:
        """See `RecordLedger.add_conversation`."""
        self._closed.check(conversation.account)
        return await self._tasks.run(self._add_conversation(EndedConversation(conversation, turns, tool_calls)))

    async def begin_conversation(self, conversation: Conversation) -> int:
        """See `RecordLedger.begin_conversation`."""
        self._closed.check(conversation.account)
        return await self._tasks.run(self._begin_conversation(conversation))

    async def add_entry(self, account: str, session_id: str, key: str, entry: LiveEntry) -> int:
        """See `RecordLedger.add_entry`."""
        return await self._tasks.run(self._live.add(account, session_id, key, entry))

    async def end_conversation(self, account: str, session_id: str, end: ConversationEnd) -> int:
        """See `RecordLedger.end_conversation`."""
        return await self._tasks.run(self._end_conversation(account, session_id, end))

    async def events_since(self, moment: dt.datetime) -> list[Happened]:
        """See `EventSource`. Imported conversations have no events."""
        rows = await self._live.ended_since(moment)
        return [_ended(row["account"], row["session_id"], row["ended_at"], row["duration_secs"]) for row in rows]

    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        """See `RecordLedger.import_renders`."""
        self._closed.check(account)
        return await self._tasks.run(self._import_renders(account, renders))

    async def import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        """See `RecordLedger.import_conversations`."""
        self._closed.check(account)
        return await self._tasks.run(self._import_conversations(account, ended))

    async def _add_conversation(self, ended: EndedConversation) -> int:
        made = ended.conversation
        row_id = (await self._import_conversations(made.account, [ended]))[0][0]
        await self._publish(_ended(made.account, made.session_id, made.ended_at, made.duration_secs))
        return row_id

    async def _begin_conversation(self, conversation: Conversation) -> int:
        row_id = await self._live.begin(conversation)
        for account, session_id, end in await self._live.end_abandoned():
            await self._publish(_ended(account, session_id, end.ended_at, end.duration_secs))
        return row_id

    async def _end_conversation(self, account: str, session_id: str, end: ConversationEnd) -> int:
        row_id = await self._live.end(account, session_id, end)
        await self._publish(_ended(account, session_id, end.ended_at, end.duration_secs))
        return row_id

    async def _add_renders(self, renders: Sequence[TtsRender]) -> list[int]:
        return list(await asyncio.gather(*(self._add_render(render) for render in renders)))

    async def _add_render(self, render: TtsRender) -> int:
        if self._closed.has(render.account):
            return 0  # No error, as the call has renders of other accounts too. The object becomes an orphan.
        if render.import_key is None:
            return await self._append_render(render)
        identity = (render.account, render.import_key)
        if identity in self._recent:
            return self._recent[identity]
        if identity not in self._under_way:
            self._under_way[identity] = task = asyncio.ensure_future(self._append_render(render))
            task.add_done_callback(partial(self._on_appended, identity))
        return await asyncio.shield(self._under_way[identity])

    async def _import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        async with self._import_lock:
            keys = {render.import_key for render in renders if render.import_key is not None}
            ids = await self._renders.known(account, "import_key", keys)
            rows: list[Row] = []
            answers: list[Recorded] = []
            for render in renders:
                found = ids.get(render.import_key) if render.import_key is not None else None
                if found is None:
                    rows.append(render_row(render, self._renders.ids))
                    if render.import_key is not None:
                        ids[render.import_key] = rows[-1]["id"]
                answers.append((rows[-1]["id"], True) if found is None else (found, False))
            await self._renders.append(rows)
            return answers

    async def _import_conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        # Turns and tool calls are committed first, so a conversation that is in its table is complete. Rows of an attempt
        # that ended between two commits are recognised by their session.
        async with self._conversation_lock:
            asked = [item.conversation.session_id for item in ended]
            ids = await self._conversations.known(account, "session_id", asked)
            new = {
                item.conversation.session_id: item for item in reversed(ended) if item.conversation.session_id not in ids
            }
            said = await self._turns.known(account, "session_id", new)
            done = await self._tool_calls.known(account, "session_id", new)
            await self._turns.append(
                [row for key in new if key not in said for row in turn_rows(new[key], self._turns.ids)]
            )
            await self._tool_calls.append(
                [row for key in new if key not in done for row in tool_call_rows(new[key], self._tool_calls.ids)]
            )
            rows = [conversation_row(new[key], self._conversations.ids) for key in reversed(new)]
            await self._conversations.append(rows)
        ids.update((row["session_id"], row["id"]) for row in rows)
        first = set(new)
        answers: list[Recorded] = []
        for session in asked:
            answers.append((ids[session], session in first))
            first.discard(session)
        return answers

    async def _append_render(self, render: TtsRender) -> int:
        row = render_row(render, self._renders.ids)
        if render.import_key is None:
            await self._renders.append([row])
        else:
            row = await self._renders.append_once((render.account, render.import_key), row)
        return int(row["id"])

    def _on_appended(self, identity: tuple[str, str], done: asyncio.Future[int]) -> None:
        is_known = self._under_way.pop(identity, None) is done
        if is_known and not done.cancelled() and done.exception() is None:
            self._recent[identity] = done.result()
            if len(self._recent) > RECENT:
                self._recent.pop(next(iter(self._recent)))


def _ended(account: str, session_id: str, at: dt.datetime | None, duration_secs: Seconds | None) -> Happened:
    data = {"id": session_id, "object": "conversation", "duration_secs": duration_secs}
    return Happened(account, f"evt_c{session_id}", "conversation.ended", data, at=at)
