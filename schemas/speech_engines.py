"""The speech engines as their callers see them: one protocol for the gateway, workers, tests and benchmarks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.domain import (
    AS_SPOKEN,
    Lane,
    Recognition,
    RecognizeOptions,
    Seconds,
    Slot,
    SoundEvent,
    Span,
    SpeakerHint,
    Turn,
    Word,
)
from schemas.engines import EngineInfo, VoiceWindows
from schemas.language_model import ChatDelta, ChatRequest
from schemas.speech import RenderedChunk, RenderRequest, VoiceProfile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """``info`` is set when the slot is ready, ``problem`` when it is not."""

    slot: Slot
    engine: str
    model: str
    replicas: int
    """Most replicas it may have."""
    info: EngineInfo | None
    problem: str | None = None
    loading: bool = False


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """An engine's result and the wall time of the computation in its replica, without queueing and transport."""

    value: T
    engine_secs: Seconds


class ListeningEngines(Protocol):
    """The engines that a recording needs; audio is s16le mono bytes at 16 kHz.

    Methods raise EngineFailure for what an engine cannot process, and Unavailable while its model is loading or its
    process is away. ``lane`` is the priority of a request.
    """

    async def recognizer(self) -> EngineInfo:
        """The recogniser."""
        ...

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """Words of one utterance, their times counted from its start. Raises InvalidParameter for unsupported options."""
        ...

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "interactive"
    ) -> Timed[VoiceWindows]:
        """Speaker features of a block that starts at ``offset_secs``; ``speech`` counts from the block's start."""
        ...

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint
    ) -> Timed[list[Turn]]:
        """Turns of a whole recording from the features of all its blocks; times count from its start."""
        ...

    async def event_detector(self) -> EngineInfo:
        """The event detector."""
        ...

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> Timed[list[SoundEvent]]:
        """Events in the audio of a block that starts at ``offset_secs``, in seconds from the recording's start."""
        ...

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> Timed[list[SoundEvent]]:
        """Events of a whole recording: from speech, words, and ``heard``, the events found in its blocks."""
        ...


class Engines(ListeningEngines, Protocol):
    """All engines behind the gateway; rendered speech is s16le mono at 24 kHz."""

    async def check_options(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter, naming the parameter, for what the recogniser cannot do."""
        ...

    def render(self, request: RenderRequest) -> AsyncGenerator[RenderedChunk, None]:
        """The whole text, chunk by chunk; closing it stops the engine. Raises InvalidParameter, EngineFailure."""
        ...

    async def match_voice(self, pcm: bytes, voice_id: str) -> tuple[VoiceProfile, float | None, str]:
        """The voice most similar to a clip at 24 kHz, its similarity (a cosine; None where the clip itself is the voice),
        and the engine's revision. Raises InvalidAudio."""
        ...

    async def language_model(self) -> EngineInfo:
        """What answers in conversations; `LanguageModelCapabilities` are its capabilities."""
        ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """An answer as it is generated; closing it ends the generation. Raises as `LanguageModel.stream`."""
        ...

    async def slots(self) -> list[SlotStatus]:
        """The engine of each slot, or why it is not ready. Answers within seconds, also while an engine hangs."""
        ...
