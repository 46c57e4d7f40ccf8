"""Bodies of `/vui`: renders, messages of the socket, and voices."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.records import Voice
from schemas.speech import MAX_SPEED, MIN_SPEED, VoiceProfile

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

AudioFormat = Literal["wav", "pcm", "mp3", "opus", "flac"]
"""Formats of complete renders; `pcm` is s16le at 24 kHz mono without a header, `opus` is in Ogg."""

VoiceId = Annotated[
    str, Field(min_length=1, max_length=128, description="A `voice_id` from `GET /vui/voices`, or your own.")
]


class Render(BaseModel):
    """The parameters of a render, over HTTP or the socket."""

    model_config = ConfigDict(extra="ignore")

    voice: VoiceId
    input: str = Field(
        min_length=1,
        description="Text to speak; markup is removed. "
        "Cues: [sigh] [laugh] [gasp] [sniff] [cough] [hesitate] [breath] [pause].",
    )
    temperature: float = Field(
        0.9, ge=0, le=2, allow_inf_nan=False, description="Sampling temperature; the embedded engines have none."
    )
    speed: float = Field(
        1.0,
        ge=MIN_SPEED,
        le=MAX_SPEED,
        allow_inf_nan=False,
        description="Pace relative to the voice's own; 2 is twice as fast.",
    )
    max_secs: float | None = Field(
        None,
        ge=0,
        le=36_000,
        allow_inf_nan=False,
        description="Limit on the length of the audio, s; estimated from the text when omitted or 0.",
    )
    verify_chunks: bool = Field(
        True, description="Verify each chunk with the recogniser, and render it again if it misreads the text."
    )

    @field_validator("input", mode="before")
    @classmethod
    def _without_surrogates(cls, text: Any) -> Any:
        """Replace unpaired surrogates by U+FFFD: JSON can contain them, UTF-8 cannot."""
        return _SURROGATES.sub("\ufffd", text) if isinstance(text, str) else text

    @field_validator("input")
    @classmethod
    def _without_controls(cls, text: str) -> str:
        """Replace each control character by a space: some engines read them as commands."""
        return _CONTROLS.sub(" ", text)


class SpeechRequest(Render):
    """`POST /vui/v1/tts`."""

    response_format: AudioFormat = Field(
        "wav", description="`pcm` is s16le at 24 kHz mono without a header; `opus` is in Ogg."
    )
    stream: bool = Field(False, description="Send audio while it is rendered; also as the query parameter `stream=1`.")


class SpeakMessage(Render):
    """One render on the socket. ``token`` replaces the Authorization header."""

    type: Literal["speak"] = "speak"
    token: str | None = Field(None, max_length=8192)
    passages: bool = Field(False, description="Send a message `passage` after the sound of each passage.")
    stored: bool = Field(
        False,
        description="Send a message `stored` when the render is in the history, about a second after `done`. "
        "The next render begins after it.",
    )


class PassageMessage(BaseModel):
    """The passage whose sound has just been sent: a sentence, or a clause of a long one."""

    type: Literal["passage"] = "passage"
    text: str = Field(description="The text that is rendered: without markup, with cues in brackets.")
    start_secs: float = Field(description="Seconds from the start of the render's audio.")
    end_secs: float
    passed: bool | None = Field(description="Whether verification passed; null if the passage was not verified.")
    retries: int
    word_error_rate: float | None


class StoredMessage(BaseModel):
    """The render that ended with the last `done` is in the history."""

    type: Literal["stored"] = "stored"
    id: int | None = Field(description="Of `/history/tts`; null for a render without a token, or one that was not stored.")


class VoiceBody(BaseModel):
    """A built-in voice."""

    voice_id: str
    preview_text: str
    language: str = Field(description="BCP 47 tag, lower-case, of the language it speaks, such as `en-gb` or `es`.")

    @classmethod
    def of(cls, voice: VoiceProfile) -> VoiceBody:
        """The body for a built-in voice."""
        return cls(voice_id=voice.voice_id, preview_text=voice.preview_text, language=voice.language)


class VoiceList(BaseModel):
    """The answer of `GET /vui/voices`."""

    voices: list[VoiceBody]


class ClonedVoice(BaseModel):
    """The answer to a reference clip."""

    voice_id: str
    name: str
    frames: int = Field(description="Length of the reference in frames, 12.5 a second.")
    seconds: float = Field(description="Length of the reference, s.")
    text: str = Field(description="Transcript of the reference, as sent or as recognised by the server.")

    @classmethod
    def of(cls, voice: Voice) -> ClonedVoice:
        """The body for a cloned voice."""
        return cls(
            voice_id=voice.id, name=voice.name, frames=voice.frames, seconds=round(voice.seconds, 2), text=voice.text
        )


class OwnVoice(BaseModel):
    """A cloned voice of the requesting account."""

    voice_id: str
    name: str


class OwnVoices(BaseModel):
    """The answer of `GET /vui/v1/voices/mine`."""

    voices: list[OwnVoice]


class DeleteVoice(BaseModel):
    """`POST /vui/v1/voices/delete`."""

    voice_id: VoiceId


class DeletedVoice(BaseModel):
    """The answer to a deletion."""

    voice_id: str
    deleted: bool = True


def audio_responses() -> dict[int | str, dict[str, Any]]:
    """Responses of `POST /vui/v1/tts` for the OpenAPI document."""
    words = {"type": "string"}
    headers = {
        "X-Audio-Seconds": {"description": "Length of the audio, s; complete files only.", "schema": words},
        "X-Verify-Enabled": {"description": "Whether chunks are checked: `true` or `false`.", "schema": words},
        "X-Verify-Chunks": {"description": "Chunks checked; complete files only.", "schema": words},
        "X-Verify-Retries": {"description": "Times a chunk was rendered again; complete files only.", "schema": words},
        "X-Verify-Failed": {"description": "Chunks that failed in all attempts; complete files only.", "schema": words},
        "X-Verify-Word-Error-Rate": {
            "description": "Word error rate of the worst chunk; complete files only.",
            "schema": words,
        },
    }
    return {200: {**file_responses()[200], "headers": headers}}


def file_responses() -> dict[int | str, dict[str, Any]]:
    """Responses with a sound in one of the formats of `AudioFormat`, for the OpenAPI document."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    types = ("audio/wav", "audio/L16", "audio/mpeg", "audio/ogg", "audio/flac")
    return {200: {"description": "The sound.", "content": dict.fromkeys(types, binary)}}
