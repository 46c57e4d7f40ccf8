"""Bodies of `/v1/audio/speech` and of the lists of voices and models that clients show for selection."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.api.speech import VoiceId

MIN_SPEECH_SPEED: Final = 0.25
MAX_SPEECH_SPEED: Final = 4.0


class VoiceReference(BaseModel):
    """A voice of the account by its id."""

    id: VoiceId


class OpenAISpeech(BaseModel):
    """`POST /v1/audio/speech`."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1, max_length=200)
    input: str = Field(min_length=1, description="Text to speak.")
    voice: VoiceId | VoiceReference = Field(description="One of OpenAI's voice names, or a voice of this server.")
    instructions: str = Field("", max_length=4096, description="Accepted; the engines here take none.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=MIN_SPEECH_SPEED, le=MAX_SPEECH_SPEED, allow_inf_nan=False)
    stream_format: Literal["audio", "sse"] = "audio"

    @property
    def voice_name(self) -> str:
        """The voice's name or id, from either form."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


class SpeechDelta(BaseModel):
    """A piece of the audio, in base64."""

    type: Literal["speech.audio.delta"] = "speech.audio.delta"
    audio: str


class SpeechUsage(BaseModel):
    """Usage: one token a word of the text, 50 a second of audio."""

    input_tokens: int
    output_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, text: str, audio_secs: float) -> SpeechUsage:
        """The usage of a finished render."""
        read, made = len(text.split()), round(50 * audio_secs)
        return cls(input_tokens=read, output_tokens=made, total_tokens=read + made)


class SpeechDone(BaseModel):
    """The end of the audio."""

    type: Literal["speech.audio.done"] = "speech.audio.done"
    usage: SpeechUsage


class Choice(BaseModel):
    """An entry of a selection list."""

    id: str
    name: str


class VoiceChoices(BaseModel):
    """`GET /v1/audio/voices`, which OpenAI does not have and self-hosted servers do."""

    voices: list[Choice]


class ModelChoices(BaseModel):
    """`GET /v1/audio/models`, likewise."""

    models: list[Choice]
