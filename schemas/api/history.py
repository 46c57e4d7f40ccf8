"""Bodies of `/history`, field for field as the contract shows them, built from rows of the tables.

Fields that a place does not show are absent there; fields without a value are null.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from schemas.times import iso

Row = Mapping[str, Any]


class TranscriptionEntry(BaseModel):
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
    download_url: str | None = Field(None, description="Signed URL of the audio; only where asked for.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            "object": "transcription",
            "id": row["id"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "status": row["status"],
            "filename": row["filename"],
            "audio_duration_secs": _rounded(row["audio_duration_secs"]),
            "audio_format": row["audio_format"],
            "language": row["language"],
            "num_speakers": row["num_speakers"],
            "num_segments": row["num_segments"],
        }


class TranscriptionDetail(TranscriptionEntry):
    """One transcription. URLs are null until there is something behind them."""

    updated_at: str
    processing_secs: float | None
    num_chunks: int | None
    non_speech: bool
    cached: bool
    error_message: str | None
    text_url: str | None = Field(description="Signed URL of the text, one line a speaker turn.")
    segments_url: str | None = Field(description="Signed URL of the segments with their words, as JSON.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            **super().fields(row),
            "updated_at": iso(row["updated_at"]),
            "processing_secs": _rounded(row["processing_secs"]),
            "num_chunks": row["num_chunks"],
            "non_speech": row["non_speech"],
            "cached": row["cached"],
            "error_message": row["error_message"],
        }


class TtsEntry(BaseModel):
    object: Literal["tts"] = "tts"
    id: int
    created_at: str
    cost_usd: float | None
    voice: str
    chars: int
    audio_secs: float
    download_url: str | None = Field(None, description="Signed URL of the Opus copy; absent where not asked for.")

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            "object": "tts",
            "id": row["id"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "voice": row["voice"],
            "chars": row["chars"],
            "audio_secs": _rounded(row["audio_secs"]),
        }


class TtsDetail(TtsEntry):
    text: str

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {**super().fields(row), "text": row["text"]}


class ConversationFeedEntry(BaseModel):
    object: Literal["conversation"] = "conversation"
    id: str = Field(description="The session's id.")
    created_at: str
    cost_usd: float | None
    voice: str | None
    duration_secs: float | None
    turn_count: int

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            "object": "conversation",
            "id": row["session_id"],
            "created_at": iso(row["created_at"]),
            "cost_usd": row["cost_usd"],
            "voice": row["voice"],
            "duration_secs": _rounded(row["duration_secs"]),
            "turn_count": row["turn_count"],
        }


class ConversationEntry(ConversationFeedEntry):
    started_at: str
    ended_at: str | None

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {**super().fields(row), "started_at": iso(row["started_at"]), "ended_at": _iso(row["ended_at"])}


class TurnBody(BaseModel):
    object: Literal["conversation_turn"] = "conversation_turn"
    id: int
    session_id: str
    role: str
    text: str
    created_at: str

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            "object": "conversation_turn",
            "id": row["id"],
            "session_id": row["session_id"],
            "role": row["role"],
            "text": row["text"],
            "created_at": iso(row["created_at"]),
        }


class ToolCallBody(BaseModel):
    object: Literal["tool_call"] = "tool_call"
    id: int
    tool: str
    args: dict[str, Any]
    result: str | None
    created_at: str

    @classmethod
    def fields(cls, row: Row) -> dict[str, Any]:
        return {
            "object": "tool_call",
            "id": row["id"],
            "tool": row["tool"],
            "args": json.loads(row["args"]),
            "result": row["result"],
            "created_at": iso(row["created_at"]),
        }


class ConversationDetail(ConversationEntry):
    turns: list[TurnBody] | None = Field(None, description="Absent with `include_turns=false`.")
    tool_calls: list[ToolCallBody] | None = Field(None, description="Only with `include_tool_calls=true`.")


class _List(BaseModel):
    """The one envelope of every list."""

    object: Literal["list"] = "list"
    page: int
    limit: int
    total: int = Field(description="Everything that matches, on all pages.")
    has_more: bool


class TranscriptionHistory(_List):
    data: list[TranscriptionEntry]


class TtsHistory(_List):
    data: list[TtsEntry]


class ConversationHistory(_List):
    data: list[ConversationEntry]


class Feed(_List):
    data: list[TranscriptionEntry | TtsEntry | ConversationFeedEntry]


class TurnHit(TurnBody):
    snippet: str = Field(description="The piece that matched, as HTML: matched words in `<mark>`, all else escaped.")


class TranscriptionHit(BaseModel):
    object: Literal["transcription"] = "transcription"
    id: int
    created_at: str
    status: str
    filename: str
    audio_duration_secs: float | None
    snippet: str = Field(description="The piece of text or file name that matched, as HTML.")
    start_secs: float | None = Field(description="Where in the recording it is said; null when the file name matched.")


class TtsHit(BaseModel):
    object: Literal["tts"] = "tts"
    id: int
    created_at: str
    voice: str
    text: str
    chars: int
    audio_secs: float
    snippet: str = Field(description="The piece that matched, as HTML.")


def turn_hit(row: Row, snippet: str) -> TurnHit:
    return TurnHit(**TurnBody.fields(row), snippet=snippet)


def transcription_hit(row: Row, snippet: str, start_secs: float | None) -> TranscriptionHit:
    shown = ("id", "status", "filename")
    return TranscriptionHit(
        **{name: row[name] for name in shown},
        created_at=iso(row["created_at"]),
        audio_duration_secs=_rounded(row["audio_duration_secs"]),
        snippet=snippet,
        start_secs=_rounded(start_secs),
    )


def tts_hit(row: Row, snippet: str) -> TtsHit:
    shown = ("id", "voice", "text", "chars")
    return TtsHit(
        **{name: row[name] for name in shown},
        created_at=iso(row["created_at"]),
        audio_secs=round(row["audio_secs"], 3),
        snippet=snippet,
    )


class TurnHits(BaseModel):
    object: Literal["list"] = "list"
    query: str
    data: list[TurnHit]


class Hits(BaseModel):
    object: Literal["list"] = "list"
    query: str
    data: list[TurnHit | TranscriptionHit | TtsHit]


def envelope(page: int, limit: int, total: int, data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Any list's body; `page` counts from 1."""
    has_more = page * limit < total
    return {"object": "list", "page": page, "limit": limit, "total": total, "has_more": has_more, "data": list(data)}


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _rounded(secs: float | None) -> float | None:
    return None if secs is None else round(secs, 3)
