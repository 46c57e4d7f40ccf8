"""Converts records to rows of their tables, each with the next id."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Final

from lakehouse.ledger.ids import Allocator
from lakehouse.search import lexemes
from lakehouse.tables.group_commit import Row
from schemas.records import AuditEvent, ConversationTurn, EndedConversation, ToolCall, TtsRender

LIVE: Final = 0
ENDED: Final = 1
"""Revisions of a conversation's row."""


def render_row(render: TtsRender, ids: Allocator) -> Row:
    """A row of ``tts_renders``."""
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


def conversation_row(ended: EndedConversation, ids: Allocator) -> Row:
    """A row of ``conversations`` for a conversation that is recorded after its end."""
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
        "revision": ENDED,
        "title": ended.title,
        "continues": conversation.continues,
    }


def turn_rows(ended: EndedConversation, ids: Allocator) -> Iterable[Row]:
    """Rows of ``turns``."""
    conversation = ended.conversation
    for turn in ended.turns:
        yield turn_row(conversation.account, conversation.session_id, turn, ids)


def turn_row(account: str, session_id: str, turn: ConversationTurn, ids: Allocator, key: str | None = None) -> Row:
    """A row of ``turns``; ``key`` is its identity within a conversation in progress."""
    return {
        "id": ids.next()[0],
        "account": account,
        "created_at": turn.created_at,
        "session_id": session_id,
        "role": turn.role,
        "text": turn.text,
        "lexemes": lexemes(turn.text),
        "entry_key": key,
        "words_said": turn.words_said,
        "words_heard": turn.words_heard,
        "interrupted": turn.interrupted,
        "start_secs": turn.start_secs,
        "end_secs": turn.end_secs,
        **asdict(turn.latencies),
    }


def tool_call_rows(ended: EndedConversation, ids: Allocator) -> Iterable[Row]:
    """Rows of ``tool_calls``."""
    conversation = ended.conversation
    for call in ended.tool_calls:
        yield tool_call_row(conversation.account, conversation.session_id, call, ids)


def tool_call_row(account: str, session_id: str, call: ToolCall, ids: Allocator, key: str | None = None) -> Row:
    """A row of ``tool_calls``; ``key`` is its identity within a conversation in progress."""
    return {
        "id": ids.next()[0],
        "account": account,
        "created_at": call.created_at,
        "session_id": session_id,
        "tool": call.tool,
        "args": json.dumps(call.args, ensure_ascii=False),
        "result": call.result,
        "entry_key": key,
    }


def audit_row(event: AuditEvent, ids: Allocator) -> Row:
    """A row of ``audit_events``."""
    row_id, now = ids.next()
    return {"id": row_id, "created_at": now, **{field.name: getattr(event, field.name) for field in fields(AuditEvent)}}
