"""Bodies of `/transcriptions/{id}/corrections` and `/peaks`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SpeakerName = Annotated[str, StringConstraints(max_length=100)]


class CorrectedWord(BaseModel):
    """A word that a user corrected, by its place in the engine's transcript."""

    segment: int = Field(ge=0, description="Index in `segments`.")
    word: int = Field(ge=0, description="Index in the segment's `words`.")
    text: str = Field(max_length=200, description="The correct word; an empty text removes the correction.")


class CorrectionsBody(BaseModel):
    """All corrections of a transcript. The engines' transcript is not changed."""

    revision: int = Field(description="Number of changes; 0 without corrections.")
    updated_at: str | None
    speakers: dict[str, str] = Field(description="Names of speakers by their `speaker`.")
    words: list[CorrectedWord]


class CorrectionsChange(BaseModel):
    """A change based on a revision. Words and speakers that it does not name are unchanged."""

    model_config = ConfigDict(extra="forbid")

    revision: int = Field(ge=0, description="The revision that was changed; 409 if it is not the newest.")
    speakers: dict[str, SpeakerName] = Field(default_factory=dict, max_length=100)
    words: list[CorrectedWord] = Field(default_factory=list, max_length=1000)


class PeaksBody(BaseModel):
    """The waveform of a recording."""

    duration_secs: float
    peaks: list[int] = Field(description="The loudest sample of each part of equal length, 0 to 255.")
