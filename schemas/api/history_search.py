"""Bodies of the searches below `/history`, built from rows of the tables."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from schemas.api.history import Row, TurnBody, rounded
from schemas.times import iso


class TurnHit(TurnBody):
    """A turn that a search found."""

    title: str | None = Field(description="The title of its conversation; null as in the list of conversations.")
    snippet: str = Field(
        description="The text around the match as HTML: matched words in `<mark>`, everything else escaped."
    )
    start_secs: float | None = Field(
        description="Start of its speech in the recording of the conversation; null for a written turn."
    )


class TranscriptionHit(BaseModel):
    """A transcription that a search found."""

    object: Literal["transcription"] = "transcription"
    id: int
    created_at: str
    status: str
    filename: str
    audio_duration_secs: float | None
    snippet: str = Field(description="The piece of text or file name that matched, as HTML.")
    start_secs: float | None = Field(
        description="`start` of the segment in the transcript; null when the file name matched."
    )


class TtsHit(BaseModel):
    """A render that a search found."""

    object: Literal["tts"] = "tts"
    id: int
    created_at: str
    voice: str
    text: str
    chars: int
    audio_secs: float
    snippet: str = Field(description="The piece that matched, as HTML.")


def turn_hit(row: Row, snippet: str, title: str | None) -> TurnHit:
    """The hit for a row of `turns`; ``snippet`` is HTML, ``title`` that of its conversation."""
    return TurnHit(**TurnBody.fields(row), title=title, snippet=snippet, start_secs=row["start_secs"])


def transcription_hit(row: Row, snippet: str, start_secs: float | None) -> TranscriptionHit:
    """The hit for a row of `transcriptions`; ``snippet`` is HTML, ``start_secs`` that of the first matching segment."""
    shown = ("id", "status", "filename")
    return TranscriptionHit(
        **{name: row[name] for name in shown},
        created_at=iso(row["created_at"]),
        audio_duration_secs=rounded(row["audio_duration_secs"]),
        snippet=snippet,
        start_secs=None if start_secs is None else round(start_secs, 2),  # as that of `SegmentBody`
    )


def tts_hit(row: Row, snippet: str) -> TtsHit:
    """The hit for a row of `tts_renders`; ``snippet`` is HTML."""
    shown = ("id", "voice", "text", "chars")
    return TtsHit(
        **{name: row[name] for name in shown},
        created_at=iso(row["created_at"]),
        audio_secs=rounded(row["audio_secs"]),
        snippet=snippet,
    )


class _Hits(BaseModel):
    """Common fields of all search responses."""

    object: Literal["list"] = "list"
    query: str
    next_cursor: str | None = Field(description="`cursor` of the next hits; null where there are no more.")


class TurnHits(_Hits):
    """Hits of a search in turns, newest first."""

    data: list[TurnHit]


class Hits(_Hits):
    """What a search in everything found, newest first within each kind, or of all kinds together."""

    data: list[TurnHit | TranscriptionHit | TtsHit]
