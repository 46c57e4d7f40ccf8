"""Bodies of `/vui`: what may be asked of a render, what a socket says, and voices."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.domain import Voice
from schemas.engines import VoiceProfile

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

VoiceId = Annotated[
    str, Field(min_length=1, max_length=128, description="A `voice_id` from `GET /vui/voices`, or your own.")
]


class Render(BaseModel):
    """What HTTP and socket have in common."""

    model_config = ConfigDict(extra="ignore")

    voice: VoiceId
    input: str = Field(min_length=1, description="Text to speak. Cues: [sigh] [laugh] [gasp] [sniff] [cough] [hesitate].")
    temperature: float = Field(
        0.9, ge=0, le=2, allow_inf_nan=False, description="Sampling temperature; the embedded engine has none."
    )
    max_secs: float | None = Field(
        None,
        ge=0,
        le=36_000,
        allow_inf_nan=False,
        description="Hard ceiling on the length of the sound, s; estimated from the text when omitted or 0.",
    )
    verify_chunks: bool = Field(
        True, description="Check each chunk by recognition and render again what misreads the text."
    )

    @field_validator("input")
    @classmethod
    def _without_controls(cls, text: str) -> str:
        """Control characters are commands to some engines and nothing to a reader; each becomes a space."""
        return _CONTROLS.sub(" ", text)


class SpeechRequest(Render):
    """`POST /vui/v1/tts`."""

    response_format: Literal["wav", "pcm", "mp3", "opus", "flac"] = Field(
        "wav", description="`pcm` is s16le at 24 kHz mono without a header; `opus` is in Ogg."
    )
    stream: bool = Field(False, description="Send sound as it is made; also as the query parameter `stream=1`.")


class SpeakMessage(Render):
    """One render on the socket. ``token`` is what would stand in the Authorization header."""

    type: Literal["speak"] = "speak"
    token: str | None = Field(None, max_length=8192)


class VoiceBody(BaseModel):
    voice_id: str
    preview_text: str

    @classmethod
    def of(cls, voice: VoiceProfile) -> VoiceBody:
        return cls(voice_id=voice.voice_id, preview_text=voice.preview_text)


class VoiceList(BaseModel):
    voices: list[VoiceBody]


class ClonedVoice(BaseModel):
    """The answer to a clip."""

    voice_id: str
    name: str
    frames: int = Field(description="Length of the reference in frames, 12.5 a second.")
    seconds: float = Field(description="Length of the reference, s.")
    text: str = Field(description="Transcript of the reference: as sent, else as our recogniser heard it.")

    @classmethod
    def of(cls, voice: Voice) -> ClonedVoice:
        return cls(
            voice_id=voice.id, name=voice.name, frames=voice.frames, seconds=round(voice.seconds, 2), text=voice.text
        )


class OwnVoice(BaseModel):
    voice_id: str
    name: str


class OwnVoices(BaseModel):
    voices: list[OwnVoice]


class DeleteVoice(BaseModel):
    voice_id: VoiceId


class DeletedVoice(BaseModel):
    voice_id: str
    deleted: bool = True


def audio_responses() -> dict[int | str, dict[str, Any]]:
    """What `POST /vui/v1/tts` answers with, for the OpenAPI document."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    types = ("audio/wav", "audio/L16", "audio/mpeg", "audio/ogg", "audio/flac")
    words = {"type": "string"}
    headers = {
        "X-Audio-Seconds": {"description": "Length of the sound, s; complete files only.", "schema": words},
        "X-Verify-Enabled": {"description": "Whether chunks are checked: `true` or `false`.", "schema": words},
        "X-Verify-Chunks": {"description": "Chunks checked; complete files only.", "schema": words},
        "X-Verify-Retries": {"description": "Times a chunk was rendered again; complete files only.", "schema": words},
        "X-Verify-Failed": {"description": "Chunks no attempt at which passed; complete files only.", "schema": words},
        "X-Verify-Word-Error-Rate": {"description": "Of the worst chunk heard; complete files only.", "schema": words},
    }
    return {200: {"description": "The sound.", "content": dict.fromkeys(types, binary), "headers": headers}}
