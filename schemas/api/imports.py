"""Lines of an import: the API's own shapes, with what other systems may not know left out. Unknown fields are ignored."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.times import parse


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("give ISO-8601 or seconds since 1970")  # noqa: TRY004 - Pydantic takes ValueError
    moment = parse(str(value))
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
_Secs = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")


class WordLine(_Line):
    word: str
    start: _Secs
    end: _Secs
    confidence: float = Field(1.0, ge=0, le=1)


class SegmentLine(_Line):
    speaker: str | int = "0"
    text: str
    start: _Secs
    end: _Secs
    words: list[WordLine] | None = None


class EventLine(_Line):
    tag: str
    start: _Secs
    end: _Secs
    confidence: float = Field(1.0, ge=0, le=1)
    speaker: str | int | None = None


class TranscriptionLine(_Line):
    """As `/transcriptions/{id}` or `/history/transcriptions/{id}` gives it."""

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


class TtsLine(_Line):
    """As `/history/tts/{id}` gives it; `text` makes it searchable."""

    object: Literal["tts"] = "tts"
    id: int | str | None = None
    created_at: Moment
    voice: _Name
    text: str = ""
    chars: int | None = Field(None, ge=0, le=2**31 - 1)
    audio_secs: _Secs
    cost_usd: _Usd | None = None


class TurnLine(_Line):
    role: Literal["user", "assistant", "system"]
    text: str
    created_at: Moment


class ToolCallLine(_Line):
    tool: _Name
    args: dict[str, Any] = Field(default_factory=dict)
    result: str | None = None
    created_at: Moment


class ConversationLine(_Line):
    """As `/history/conversations/{id}` gives it."""

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

    @model_validator(mode="before")
    @classmethod
    def _either_time(cls, data: Any) -> Any:
        """What began and never says when it was recorded was recorded when it began."""
        if isinstance(data, dict) and data.get("created_at") is None and data.get("started_at") is not None:
            return {**data, "created_at": data["started_at"]}
        return data


class LineError(BaseModel):
    line: int = Field(description="Number of the line in the file, from 1.")
    message: str


class ImportReport(BaseModel):
    imported: int
    unchanged: int = Field(description="Lines that were there already.")
    failed: int
    errors: list[LineError]
