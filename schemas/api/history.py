"""Bodies of `/history` but its searches, field for field as the API contract shows them, built from rows of the tables.

A field that a route does not return is absent; a field without a value is null.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from schemas.api.transcription import WarningBody
from schemas.api.turn_measures import TurnMeasures
from schemas.domain import TranscriptWarning
from schemas.times import iso
from schemas.titles import TITLE_CHARS

Row = Mapping[str, Any]

TEXT_START_CHARS = 140
"""Length of a text's start in a list."""


class TranscriptionEntry(BaseModel):
    """A transcription in a list or in the feed."""

    object: Literal["transcription"] = "transcription"
    id: int
    created_at: str
    cost_usd: float | None
    status: str
    filename: str
    audio_duration_secs: float | None
    audio_format: str | None
    language: str | None
    num_speakers: int | None
    num_segments: int | None
    warnings: list[WarningBody]
    download_url: str | None = Field(None, description="Signed URL of the audio; only on request.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            "object": "transcription",
            "id": row["id"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "status": row["status"],
            "filename": row["filename"],
            "audio_duration_secs": rounded(row["audio_duration_secs"]),
            "audio_format": row["audio_format"],
            "language": row["language"],
            "num_speakers": row["num_speakers"],
            "num_segments": row["num_segments"],
            "warnings": [WarningBody.of(TranscriptWarning(**warning)) for warning in row["warnings"] or ()],
        }


class TranscriptionDetail(TranscriptionEntry):
    """One transcription. A URL is null while its object does not exist."""

    updated_at: str
    processing_secs: float | None
    engine_secs: float | None = Field(
        description="The part of the processing time in which at least one engine worked on it."
    )
    num_chunks: int | None
    non_speech: bool
    cached: bool
    error_message: str | None
    error_code: str | None
    text_url: str | None = Field(description="Signed URL of the text, one line per speaker turn.")
    segments_url: str | None = Field(description="Signed URL of the segments with their words, as JSON.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            **super().fields(row),
            "updated_at": iso(row["updated_at"]),
            "processing_secs": rounded(row["processing_secs"]),
            "engine_secs": rounded(row["engine_secs"]),
            "num_chunks": row["num_chunks"],
            "non_speech": row["non_speech"],
            "cached": row["cached"],
            "error_message": row["error_message"],
            "error_code": row["error_code"],
        }


class TtsEntry(BaseModel):
    """A render in a list or in the feed."""

    object: Literal["tts"] = "tts"
    id: int
    created_at: str
    cost_usd: float | None
    voice: str
    chars: int
    audio_secs: float
    text_start: str = Field(description=f"The first {TEXT_START_CHARS} characters of its text, or fewer.")
    download_url: str | None = Field(None, description="Signed URL of the Opus copy; only on request.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            "object": "tts",
            "id": row["id"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "voice": row["voice"],
            "chars": row["chars"],
            "audio_secs": rounded(row["audio_secs"]),
            "text_start": row["text"][:TEXT_START_CHARS],
        }


class TtsDetail(TtsEntry):
    """One render, with its text."""

    text: str

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {**super().fields(row), "text": row["text"]}


class ConversationFeedEntry(BaseModel):
    """A conversation in the feed."""

    object: Literal["conversation"] = "conversation"
    id: str = Field(description="The session's id.")
    title: str | None = Field(
        description=f"How the user's first words begin, at most {TITLE_CHARS} characters; null without any, and in lists "
        "while it is in progress."
    )
    created_at: str
    cost_usd: float | None
    voice: str | None
    duration_secs: float | None
    turn_count: int

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            "object": "conversation",
            "id": row["session_id"],
            "title": row["title"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "voice": row["voice"],
            "duration_secs": rounded(row["duration_secs"]),
            "turn_count": row["turn_count"],
        }


class ConversationEntry(ConversationFeedEntry):
    """A conversation in its own list."""

    started_at: str
    ended_at: str | None

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {**super().fields(row), "started_at": iso(row["started_at"]), "ended_at": _iso(row["ended_at"])}


class TurnBody(BaseModel):
    """One turn of a conversation."""

    object: Literal["conversation_turn"] = "conversation_turn"
    id: int
    session_id: str
    role: str
    text: str
    created_at: str
    measures: TurnMeasures | None = Field(None, description="Only with `include_measures=true`.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            "object": "conversation_turn",
            "id": row["id"],
            "session_id": row["session_id"],
            "role": row["role"],
            "text": row["text"],
            "created_at": iso(row["created_at"]),
        }


class ToolCallBody(BaseModel):
    """One tool call of a conversation."""

    object: Literal["tool_call"] = "tool_call"
    id: int
    tool: str
    args: dict[str, Any]
    result: str | None
    created_at: str

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        """The body's fields for a row of its table; times as ISO 8601, seconds rounded to milliseconds."""
        return {
            "object": "tool_call",
            "id": row["id"],
            "tool": row["tool"],
            "args": json.loads(row["args"]),
            "result": row["result"],
            "created_at": iso(row["created_at"]),
        }


class ConversationDetail(ConversationEntry):
    """One conversation with its turns and tool calls."""

    download_url: str | None = Field(
        None, description="Signed URL of both sides as stereo Opus, the user left; absent where it is not stored."
    )
    continues: str | None = Field(None, description="`session_id` of the conversation that it continues, if any.")
    turns: list[TurnBody] | None = Field(None, description="Absent with `include_turns=false`.")
    tool_calls: list[ToolCallBody] | None = Field(None, description="Only with `include_tool_calls=true`.")


class _List(BaseModel):
    """The envelope of every list."""

    object: Literal["list"] = "list"
    page: int
    limit: int
    total: int = Field(description="Number of matches on all pages.")
    has_more: bool
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null on the last one.")


class TranscriptionHistory(_List):
    """A page of transcriptions."""

    data: list[TranscriptionEntry]


class TtsHistory(_List):
    """A page of renders."""

    data: list[TtsEntry]


class ConversationHistory(_List):
    """A page of conversations."""

    data: list[ConversationEntry]


class Feed(_List):
    """A page of all kinds of history, by time."""

    data: list[TranscriptionEntry | TtsEntry | ConversationFeedEntry]


def envelope(
    page: int, limit: int, total: int, data: Sequence[dict[str, Any]], offset: int, cursor: str | None
) -> dict[str, Any]:
    """The body of a list; ``page`` counts from 1. ``offset``: rows before this page. ``cursor``: the position behind it."""
    has_more = offset + len(data) < total
    body = {"object": "list", "page": page, "limit": limit, "total": total, "has_more": has_more, "data": list(data)}
    return {**body, "next_cursor": cursor if has_more else None}


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def rounded(secs: float | None) -> float | None:
    """Seconds to milliseconds."""
    return None if secs is None else round(secs, 3)
