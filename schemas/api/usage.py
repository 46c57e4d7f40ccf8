"""Bodies of `/v1/usage`: usage of an account, by day and kind."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class TranscribedBody(BaseModel):
    """Transcriptions that were completed."""

    count: int = 0
    audio_secs: float = 0.0
    cost_usd: float = 0.0


class SpokenBody(BaseModel):
    """Speech renders."""

    count: int = 0
    chars: int = 0
    audio_secs: float = 0.0
    cost_usd: float = 0.0


class TalkedBody(BaseModel):
    """Conversations that have ended."""

    count: int = 0
    turns: int = 0
    duration_secs: float = 0.0
    cost_usd: float = 0.0


class UsageDay(BaseModel):
    """One day in UTC."""

    day: str = Field(description="YYYY-MM-DD.")
    transcriptions: TranscribedBody = TranscribedBody()
    speech: SpokenBody = SpokenBody()
    conversations: TalkedBody = TalkedBody()


class Percentiles(BaseModel):
    """The distribution of a time in seconds; null without a measurement."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class UsageBody(BaseModel):
    """Usage in a range of days, listed by day, and durations measured in that range."""

    object: Literal["usage"] = "usage"
    since: str
    until: str
    days: list[UsageDay]
    processing_per_audio_sec: Percentiles = Field(
        description="Processing time of a transcription, for each second of its audio; without cached ones."
    )
    answer_secs: Percentiles = Field(description="End of a user's speech to the first sound of the answer, s.")
