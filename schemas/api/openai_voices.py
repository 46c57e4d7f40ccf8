"""Bodies of `/v1/audio/voices` and `/v1/audio/voice_consents`, in OpenAI's format."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from schemas.records import Voice, VoiceConsent


class NewVoiceForm(BaseModel):
    """The text fields of a new voice; the file `audio_sample` has its sample."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=100)
    consent: str = Field("", max_length=100, description="Id of the speaker's recorded consent.")
    type: Literal["audio_sample"] = "audio_sample"


class NewConsentForm(BaseModel):
    """The text fields of a new consent; the file `recording` has its audio."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=100)
    language: str = Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=40, description="BCP 47 tag.")


class RenamedConsent(BaseModel):
    """`POST /v1/audio/voice_consents/{id}`."""

    name: str = Field(min_length=1, max_length=100)


class OpenAIVoice(BaseModel):
    """A voice of the account."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    created_at: int
    name: str
    type: Literal["audio_sample"] = "audio_sample"

    @classmethod
    def of(cls, voice: Voice) -> Self:
        """The body for a cloned voice."""
        assert voice.created_at is not None  # noqa: S101 - the ledger sets it
        return cls(id=voice.id, created_at=int(voice.created_at.timestamp()), name=voice.name)


class OpenAIDeletedVoice(BaseModel):
    """The answer to a deletion."""

    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: bool = True


class ConsentBody(BaseModel):
    """A recorded consent."""

    id: str
    object: Literal["audio.voice_consent"] = "audio.voice_consent"
    created_at: int
    language: str
    name: str

    @classmethod
    def of(cls, consent: VoiceConsent) -> Self:
        """The body for the domain value."""
        assert consent.created_at is not None  # noqa: S101 - the ledger sets it
        return cls(
            id=consent.id,
            created_at=int(consent.created_at.timestamp()),
            language=consent.language,
            name=consent.name,
        )


class ConsentList(BaseModel):
    """A page of consents, newest first."""

    object: Literal["list"] = "list"
    data: list[ConsentBody]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConsent(BaseModel):
    """The answer to a deletion."""

    id: str
    object: Literal["audio.voice_consent"] = "audio.voice_consent"
    deleted: bool = True
