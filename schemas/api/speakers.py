"""Bodies of `/v1/speakers`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from schemas.records import Speaker
from schemas.times import iso


class SpeakerBody(BaseModel):
    """A known speaker of the account."""

    id: str
    object: Literal["speaker"] = "speaker"
    name: str
    seconds: float = Field(description="Length of the reference clip.")
    consent_statement: str | None = None
    created_at: str

    @classmethod
    def of(cls, speaker: Speaker) -> Self:
        """The body for a stored speaker."""
        assert speaker.created_at is not None  # noqa: S101 - the ledger sets it
        return cls(
            id=speaker.id,
            name=speaker.name,
            seconds=speaker.seconds,
            consent_statement=speaker.consent_statement,
            created_at=iso(speaker.created_at),
        )


class SpeakerList(BaseModel):
    """All known speakers of the account, newest first."""

    speakers: list[SpeakerBody]


class DeletedSpeaker(BaseModel):
    """The answer to a deletion."""

    id: str
    object: Literal["speaker"] = "speaker"
    deleted: Literal[True] = True
