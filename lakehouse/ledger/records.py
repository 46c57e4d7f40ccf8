"""What is recorded once and never changes: speech renders, conversations with their turns and tool calls.

Each row has an identity its sender knows (a render's key, a conversation's session id), so that sending it again, after a
crash or in a second import, changes nothing. Ids are allocated in the step that queues the row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.commits import Row, TableWriter
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.reads import Query, TableReader
from lakehouse.search import lexemes
from schemas.domain import Conversation, ConversationTurn, ToolCall, TtsRender

RECENT = 10_000
"""Identities kept in memory: a sender repeats within moments. What is older is asked of the table."""

Recorded = tuple[int, bool]
"""(id, whether it is new)."""


@dataclass(frozen=True, slots=True)
class EndedConversation:
    """A conversation with all that was said and done in it."""

    conversation: Conversation
    turns: Sequence[ConversationTurn] = ()
    tool_calls: Sequence[ToolCall] = ()


class _Log:
    """One append-only table: its writer, its ids and questions about what it holds."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self.ids = Allocator(clock)
        self._writer = writer
        self._reader = TableReader(writer.uri)

    async def load(self) -> None:
        bounds = await self.collect(lambda table: table.select(pl.max("id"), pl.max("created_at")))
        self.ids.restore(bounds.to_dicts()[0])

    async def append(self, rows: list[Row]) -> None:
        if rows:
            await self._writer.append(rows)

    async def known(self, account: str, column: str, values: Collection[str]) -> dict[str, int]:
        """The highest id of each of ``values`` that an account's rows have in ``column``."""
        if not values:
            return {}
        wanted = (pl.col("account") == account) & pl.col(column).is_in(list(values))
        frame = await self.collect(lambda table: table.filter(wanted).select(column, "id"))
        return dict(frame.sort("id").iter_rows())

    async def collect(self, query: Query) -> pl.DataFrame:
        return await asyncio.to_thread(self._reader.collect, query, self._writer.version)


class Records:
    """The writer's side of ``tts_renders``, ``conversations``, ``turns`` and ``tool_calls``."""

    def __init__(self, writers: dict[str, TableWriter], clock: Clock) -> None:
        self._renders = _Log(writers["tts_renders"], clock)
        self._conversations = _Log(writers["conversations"], clock)
        self._turns = _Log(writers["turns"], clock)
        self._tool_calls = _Log(writers["tool_calls"], clock)
        self._recent: dict[tuple[str, str], asyncio.Future[int]] = {}
        self._import_lock = asyncio.Lock()
        self._conversation_lock = asyncio.Lock()

    async def load(self) -> None:
        for log in (self._renders, self._conversations, self._turns, self._tool_calls):
            await log.load()
        newest = pl.col("import_key").is_not_null() & (pl.col("id") >= self._renders.ids.next_id - RECENT)
        columns = ("account", "import_key", "id")
        frame = await self._renders.collect(lambda table: table.filter(newest).select(columns))
        for account, key, row_id in frame.sort("id").iter_rows():
            self._recent[account, key] = done = asyncio.get_running_loop().create_future()
            done.set_result(row_id)

    async def render(self, render: TtsRender) -> int:
        """Record one render; gives its id. Renders that come together share a commit."""
        if render.import_key is None:
            return await self._append_render(render)
        identity = (render.account, render.import_key)
        if identity not in self._recent:
            self._recent[identity] = task = asyncio.ensure_future(self._append_render(render))
            task.add_done_callback(lambda done: self._forget_failed(identity, done))
            if len(self._recent) > RECENT:
                self._recent.pop(next(iter(self._recent)))
        return await asyncio.shield(self._recent[identity])

    async def renders(self, renders: Sequence[TtsRender]) -> list[int]:
        """Record many at once, of any accounts, in one commit; gives their ids."""
        return list(await asyncio.gather(*(self.render(render) for render in renders)))

    async def import_renders(self, account: str, renders: Sequence[TtsRender]) -> list[Recorded]:
        """Record many of one account in one commit; those whose ``import_key`` is there already are left."""
        async with self._import_lock:
            keys = {render.import_key for render in renders if render.import_key is not None}
            ids = await self._renders.known(account, "import_key", keys)
            rows: list[Row] = []
            answers: list[Recorded] = []
            for render in renders:
                found = ids.get(render.import_key) if render.import_key is not None else None
                if found is None:
                    rows.append(_render_row(render, self._renders.ids))
                    if render.import_key is not None:
                        ids[render.import_key] = rows[-1]["id"]
                answers.append((rows[-1]["id"], True) if found is None else (found, False))
            await self._renders.append(rows)
            return answers

    async def conversations(self, account: str, ended: Sequence[EndedConversation]) -> list[Recorded]:
        """Record conversations of one account; those whose session is there already are left.

        Turns and tool calls are committed first, so a conversation that is there is there whole; those of an attempt that
        ended between are recognised by their session.
        """
        async with self._conversation_lock:
            asked = [item.conversation.session_id for item in ended]
            ids = await self._conversations.known(account, "session_id", asked)
            new = {
                item.conversation.session_id: item for item in reversed(ended) if item.conversation.session_id not in ids
            }
            said = await self._turns.known(account, "session_id", new)
            done = await self._tool_calls.known(account, "session_id", new)
            await self._turns.append(
                [row for key in new if key not in said for row in _turn_rows(new[key], self._turns.ids)]
            )
            await self._tool_calls.append(
                [row for key in new if key not in done for row in _tool_call_rows(new[key], self._tool_calls.ids)]
            )
            rows = [_conversation_row(new[key], self._conversations.ids) for key in reversed(new)]
            await self._conversations.append(rows)
        ids.update((row["session_id"], row["id"]) for row in rows)
        first = set(new)
        answers: list[Recorded] = []
        for session in asked:
            answers.append((ids[session], session in first))
            first.discard(session)
        return answers

    async def _append_render(self, render: TtsRender) -> int:
        row = _render_row(render, self._renders.ids)
        await self._renders.append([row])
        return int(row["id"])

    def _forget_failed(self, identity: tuple[str, str], done: asyncio.Future[int]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._recent.pop(identity, None)


def _render_row(render: TtsRender, ids: Allocator) -> Row:
    row_id, now = ids.next()
    return {
        "id": row_id,
        "account": render.account,
        "created_at": render.created_at or now,
        "voice": render.voice,
        "text": render.text,
        "lexemes": lexemes(render.text),
        "chars": render.chars,
        "audio_secs": render.audio_secs,
        "cost_usd": render.cost_usd,
        "audio_key": render.audio_key,
        "engine_revision": render.engine_revision,
        "temperature": render.temperature,
        "verified": render.verified,
        "chunks": render.chunks,
        "retries": render.retries,
        "word_error_rate": render.word_error_rate,
        "import_key": render.import_key,
    }


def _conversation_row(ended: EndedConversation, ids: Allocator) -> Row:
    conversation = ended.conversation
    row_id, now = ids.next()
    return {
        "id": row_id,
        "account": conversation.account,
        "created_at": conversation.created_at or now,
        "session_id": conversation.session_id,
        "voice": conversation.voice,
        "started_at": conversation.started_at,
        "ended_at": conversation.ended_at,
        "duration_secs": conversation.duration_secs,
        "turn_count": len(ended.turns) if conversation.turn_count is None else conversation.turn_count,
        "cost_usd": conversation.cost_usd,
    }


def _turn_rows(ended: EndedConversation, ids: Allocator) -> Iterable[Row]:
    for turn in ended.turns:
        yield {
            "id": ids.next()[0],
            "account": ended.conversation.account,
            "created_at": turn.created_at,
            "session_id": ended.conversation.session_id,
            "role": turn.role,
            "text": turn.text,
            "lexemes": lexemes(turn.text),
        }


def _tool_call_rows(ended: EndedConversation, ids: Allocator) -> Iterable[Row]:
    for call in ended.tool_calls:
        yield {
            "id": ids.next()[0],
            "account": ended.conversation.account,
            "created_at": call.created_at,
            "session_id": ended.conversation.session_id,
            "tool": call.tool,
            "args": json.dumps(call.args, ensure_ascii=False),
            "result": call.result,
        }
