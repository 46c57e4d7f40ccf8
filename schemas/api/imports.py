"""Lines of an import, in the shapes of the API. Fields that other systems may lack are optional; others are ignored."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.times import iso, parse


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("give ISO-8601 or seconds since 1970")  # noqa: TRY004 - Pydantic takes ValueError
    moment = parse(str(value))
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
_Secs = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_TOLERANCE_SECS = 1.0
"""Tolerance of times behind the end of a recording, because other systems round times and count the last frame fully."""
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Timed(_Line):
    """A part of a recording; times in seconds from its start."""

    start: _Secs
    end: _Secs

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end:g} is before start {self.start:g}")
        return self


class WordLine(_Timed):
    """A word of a segment; times in seconds from the start of the recording."""

    word: str
    confidence: _Share = 1.0


class SegmentLine(_Timed):
    """A segment of a transcription; times in seconds from the start of the recording."""

    speaker: str | int = "0"
    text: str
    words: list[WordLine] | None = None


class EventLine(_Timed):
    """A sound event of a transcription; times in seconds from the start of the recording."""

    tag: str
    confidence: _Share = 1.0
    speaker: str | int | None = None


class TranscriptionLine(_Line):
    """A transcription in the form of `/transcriptions/{id}` or `/history/transcriptions/{id}`."""

    object: Literal["transcription"] = "transcription"
    id: int | str | None = None
    created_at: Moment
    updated_at: Moment | None = None
    status: Literal["completed", "failed", "cancelled"] = "completed"
    filename: _Name
    audio_duration_secs: _Secs | None = Field(None, validation_alias=AliasChoices("audio_duration_secs", "audio_duration"))
    audio_format: str | None = Field(None, max_length=64)
    processing_secs: _Secs | None = Field(None, validation_alias=AliasChoices("processing_secs", "processing_time"))
    language: str | None = Field(None, max_length=64)
    non_speech: bool = False
    num_chunks: int | None = Field(None, ge=0, le=2**31 - 1)
    num_segments: int | None = Field(None, ge=0, le=2**31 - 1)
    num_speakers: int | None = Field(None, ge=0, le=2**31 - 1)
    cost_usd: _Usd | None = None
    error_message: str | None = None
    text: str | None = None
    segments: list[SegmentLine] | None = None
    events: list[EventLine] | None = None

    @model_validator(mode="after")
    def _within_the_recording(self) -> Self:
        """Raises ValueError that names the first part behind the end of the recording."""
        length = self.audio_duration_secs
        if length is None:
            return self
        parts: list[tuple[str, _Timed]] = [(f"events.{n}", event) for n, event in enumerate(self.events or ())]
        for number, segment in enumerate(self.segments or ()):
            parts.append((f"segments.{number}", segment))
            parts += [(f"segments.{number}.words.{n}", word) for n, word in enumerate(segment.words or ())]
        for name, part in parts:
            if part.end > length + _TOLERANCE_SECS:
                raise ValueError(f"{name}.end {part.end:g} is beyond the recording, which is {length:g} s long")
        return self


class TtsLine(_Line):
    """A render in the form of `/history/tts/{id}`; `text` makes it searchable."""

    object: Literal["tts"] = "tts"
    id: int | str | None = None
    created_at: Moment
    voice: _Name
    text: str = ""
    chars: int | None = Field(None, ge=0, le=2**31 - 1)
    audio_secs: _Secs
    cost_usd: _Usd | None = None


class TurnLine(_Line):
    """A turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    text: str
    created_at: Moment


class ToolCallLine(_Line):
    """A tool call of a conversation."""

    tool: _Name
    args: dict[str, Any] = Field(default_factory=dict)
    result: str | None = None
    created_at: Moment


class ConversationLine(_Line):
    """A conversation in the form of `/history/conversations/{id}`."""

    object: Literal["conversation"] = "conversation"
    id: Annotated[str, Field(min_length=1, max_length=200)]
    created_at: Moment
    started_at: Moment | None = None
    ended_at: Moment | None = None
    duration_secs: _Secs | None = None
    voice: _Name | None = None
    cost_usd: _Usd | None = None
    turn_count: int | None = Field(None, ge=0, le=2**31 - 1)
    turns: list[TurnLine] = Field(default_factory=list)
    tool_calls: list[ToolCallLine] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ended_at is not None and self.ended_at < (self.started_at or self.created_at):
            raise ValueError(f"ended_at {iso(self.ended_at)} is before the conversation's start")
        return self

    @model_validator(mode="before")
    @classmethod
    def _either_time(cls, data: Any) -> Any:
        """A line without `created_at` gets its `started_at`."""
        if isinstance(data, dict) and data.get("created_at") is None and data.get("started_at") is not None:
            return {**data, "created_at": data["started_at"]}
        return data


class LineError(BaseModel):
    """A line that was not imported, and why."""

    line: int = Field(description="Number of the line in the file, from 1.")
    message: str


class ImportReport(BaseModel):
    """The outcome of an import; at most 1000 errors are listed."""

    imported: int
    unchanged: int = Field(description="Lines that had been imported before.")
    failed: int
    errors: list[LineError]
