"""The configuration of a Realtime session, and the merging of partial `session.update` events.

Field names, values and defaults are those of `openai.types.realtime.RealtimeSessionCreateRequest`. Unknown fields are
ignored, because clients send some that have no meaning here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

OutputModality = Literal["text", "audio"]
Modalities = Annotated[list[OutputModality], Field(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]

PLAIN_INSTRUCTIONS: Final = (
    "You are a voice assistant. Answer in one or two short spoken sentences, in the language that you are spoken to. "
    "Use no markup, lists or emoji: what you write is read aloud."
)
"""Default instructions."""


class RealtimeBody(BaseModel):
    """A frozen body that ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SparseBody(RealtimeBody):
    """A body without fields that have no value, because clients refuse null there."""

    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


class PcmFormat(RealtimeBody):
    """s16le, mono, 24 kHz."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class PcmuFormat(RealtimeBody):
    """G.711 μ-law at 8 kHz."""

    type: Literal["audio/pcmu"]


class PcmaFormat(RealtimeBody):
    """G.711 A-law at 8 kHz."""

    type: Literal["audio/pcma"]


AudioFormat: TypeAlias = Annotated[PcmFormat | PcmuFormat | PcmaFormat, Field(discriminator="type")]


class Transcription(SparseBody):
    """Transcription of the input for the client, always by the platform's recogniser, whatever ``model`` is."""

    model: str | None = None
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$")
    prompt: str | None = Field(None, max_length=2000)


class NoiseReduction(SparseBody):
    """Accepted, but without effect."""

    type: Literal["near_field", "far_field"] | None = None


class ServerVad(RealtimeBody):
    """A turn ends after a fixed silence."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    prefix_padding_ms: int = Field(300, ge=0, le=5000)
    silence_duration_ms: int = Field(500, ge=60, le=10_000)
    idle_timeout_ms: int | None = Field(None, ge=5000, le=30_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(RealtimeBody):
    """A turn ends when it sounds finished, and after 8, 4 or 2 s of silence at the latest."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class AudioInput(RealtimeBody):
    """Audio from the client."""

    format: AudioFormat = PcmFormat()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = ServerVad()


class VoiceReference(RealtimeBody):
    """A voice by its id."""

    id: str = Field(min_length=1, max_length=128)


class AudioOutput(RealtimeBody):
    """Audio to the client. ``speed`` is relative to the voice's own."""

    format: AudioFormat = PcmFormat()
    voice: Annotated[str, Field(min_length=1, max_length=128)] | VoiceReference
    speed: float = Field(1.0, ge=0.25, le=1.5, allow_inf_nan=False)

    @property
    def voice_id(self) -> str:
        """The voice's id, however it is written."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


class Audio(RealtimeBody):
    """Both directions."""

    input: AudioInput = AudioInput()
    output: AudioOutput


class FunctionTool(RealtimeBody):
    """A function that the model may ask the client to call."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = Field("", max_length=4096)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


Tools = Annotated[list[FunctionTool], Field(max_length=128)]


class ToolChoiceFunction(RealtimeBody):
    """The choice of exactly this function."""

    type: Literal["function"]
    name: str


ChosenTool: TypeAlias = Literal["auto", "none", "required"] | ToolChoiceFunction


class TokenLimits(SparseBody):
    """Limits of the prompt."""

    post_instructions: int | None = Field(None, ge=1)


class RetentionRatio(SparseBody):
    """A conversation over its limit is truncated to this share of it, so that truncations are rare."""

    type: Literal["retention_ratio"]
    retention_ratio: float = Field(ge=0, le=1, allow_inf_nan=False)
    token_limits: TokenLimits | None = None


class RealtimeConfig(RealtimeBody):
    """A session with responses."""

    type: Literal["realtime"] = "realtime"
    model: str = Field(min_length=1, max_length=256)
    output_modalities: Modalities = ["audio"]
    instructions: str = Field(PLAIN_INSTRUCTIONS, max_length=200_000)
    tools: Tools = []
    tool_choice: ChosenTool = "auto"
    max_output_tokens: MaxOutputTokens = "inf"
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    tracing: Any = None
    prompt: Any = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    audio: Audio

    @property
    def input(self) -> AudioInput:
        """The input settings."""
        return self.audio.input

    def body(self, session_id: str, expires_at: int) -> dict[str, Any]:
        """As `session.created` and `session.updated` show it."""
        fields = self.model_dump(exclude={"temperature"} if self.temperature is None else None)
        return {**fields, "object": "realtime.session", "id": session_id, "expires_at": expires_at}


class TranscriptionAudio(RealtimeBody):
    """Audio settings of a transcription session, which has input only."""

    input: AudioInput = AudioInput(transcription=Transcription())


class TranscriptionConfig(RealtimeBody):
    """A session that transcribes and does not respond."""

    type: Literal["transcription"] = "transcription"
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    audio: TranscriptionAudio = TranscriptionAudio()

    @property
    def input(self) -> AudioInput:
        """The input settings."""
        return self.audio.input

    def body(self, session_id: str, expires_at: int) -> dict[str, Any]:
        """As `session.created` and `session.updated` show it; a turn detector of this kind of session only detects."""
        fields = self.model_dump()
        return {**fields, "object": "realtime.transcription_session", "id": session_id, "expires_at": expires_at}


Config: TypeAlias = RealtimeConfig | TranscriptionConfig
_CONFIG: Final[TypeAdapter[Config]] = TypeAdapter(Annotated[Config, Field(discriminator="type")])
_MERGED: Final = {
    (),
    ("audio",),
    ("audio", "input"),
    ("audio", "output"),
    ("audio", "input", "turn_detection"),
    ("audio", "input", "transcription"),
}
"""Objects that are merged by field; all others are replaced."""


def merged(config: Config, changes: Mapping[str, Any]) -> Config:
    """``config`` with the fields of ``changes``, a client's session. Raises Pydantic's ValidationError.

    Changes of the model's name are ignored. A turn detector of another type starts from its own defaults.
    """
    kept = {name: value for name, value in changes.items() if not (name == "model" and isinstance(config, RealtimeConfig))}
    if kept.get("type") != config.type:
        return _CONFIG.validate_python(kept)
    return _CONFIG.validate_python(_overlaid(config.model_dump(), kept, ()))


def _overlaid(old: Any, new: Any, path: tuple[str, ...]) -> Any:
    if path not in _MERGED or not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    if path[-1:] == ("turn_detection",) and new.get("type", old["type"]) != old["type"]:
        return new
    return {**old, **{name: _overlaid(old.get(name), value, (*path, name)) for name, value in new.items()}}
