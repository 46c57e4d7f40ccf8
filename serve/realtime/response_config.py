"""The settings of one response: the client's for this response, else the session's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.api.realtime.client_events import InputItem, ResponseParams
from schemas.api.realtime.session_config import (
    AudioFormat,
    AudioOutput,
    ChosenTool,
    FunctionTool,
    OutputModality,
    RealtimeConfig,
    RetentionRatio,
    VoiceReference,
)


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """All settings of one response."""

    modality: OutputModality
    instructions: str
    tools: tuple[FunctionTool, ...]
    tool_choice: ChosenTool
    max_output_tokens: int | str
    temperature: float | None
    truncation: str | RetentionRatio
    voice: str | VoiceReference
    format: AudioFormat
    speed: float
    out_of_band: bool = False
    metadata: Mapping[str, str] | None = None
    input: tuple[InputItem, ...] | None = None

    @property
    def voice_id(self) -> str:
        """The voice's id, whichever form the client used."""
        return self.voice if isinstance(self.voice, str) else self.voice.id

    @property
    def max_tokens(self) -> int | None:
        """The limit in the form for the language model."""
        return self.max_output_tokens if isinstance(self.max_output_tokens, int) else None

    def audio_body(self) -> dict[str, Any]:
        """Format and voice as response events show them."""
        return {"format": self.format.model_dump(), "voice": self.voice_id}


def response_config(session: RealtimeConfig, asked: ResponseParams) -> ResponseConfig:
    """The session's settings overridden by ``asked``; the session is unchanged."""
    output: AudioOutput = session.audio.output
    audio = asked.audio.output if asked.audio else None
    modality = (asked.output_modalities or session.output_modalities)[0]
    temperature = session.temperature if asked.temperature is None else asked.temperature
    return ResponseConfig(
        modality=modality,
        instructions=session.instructions if asked.instructions is None else asked.instructions,
        tools=tuple(session.tools if asked.tools is None else asked.tools),
        tool_choice=asked.tool_choice or session.tool_choice,
        max_output_tokens=asked.max_output_tokens or session.max_output_tokens,
        temperature=temperature,
        truncation=session.truncation,
        voice=(audio and audio.voice) or output.voice,
        format=(audio and audio.format) or output.format,
        speed=output.speed,
        out_of_band=asked.conversation == "none",
        metadata=asked.metadata,
        input=None if asked.input is None else tuple(asked.input),
    )
