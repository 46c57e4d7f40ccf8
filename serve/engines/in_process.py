"""Recogniser, diariser and event detector in this process, with the code of their replicas: for benchmarks and tests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

from schemas.domain import (
    AS_SPOKEN,
    Lane,
    Recognition,
    RecognizeOptions,
    Seconds,
    SoundEvent,
    Span,
    SpeakerHint,
    Turn,
    Word,
)
from schemas.engines import EngineInfo, VoiceWindows
from schemas.settings import Settings
from schemas.speech_engines import Timed
from serve.engines.asr.deployment import RecognizerDeployment
from serve.engines.diarization.deployment import DiarizerDeployment
from serve.engines.events.deployment import EventDetectorDeployment


class InProcessEngines:
    """`schemas.speech_engines.ListeningEngines` of a profile, each loaded when first used.

    Belongs to the event loop it is used in. Loading lowers the priority of this process, as in a replica.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, Any] = {}
        self._loading = asyncio.Lock()

    async def recognizer(self) -> EngineInfo:
        info: EngineInfo = await (await self._replica(RecognizerDeployment)).info()
        return info

    async def check_options(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter, naming the parameter, for what the recogniser cannot do."""
        await (await self._replica(RecognizerDeployment)).check_options(options)

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        found: Recognition = await (await self._replica(RecognizerDeployment)).recognize(pcm, lane, options)
        return found

    async def diarizer(self) -> EngineInfo:
        """The diariser."""
        info: EngineInfo = await (await self._replica(DiarizerDeployment)).info()
        return info

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "interactive"
    ) -> Timed[VoiceWindows]:
        replica = await self._replica(DiarizerDeployment)
        found: Timed[VoiceWindows] = await replica.observe(pcm, speech, offset_secs, lane)
        return found

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint
    ) -> Timed[list[Turn]]:
        found: Timed[list[Turn]] = await (await self._replica(DiarizerDeployment)).resolve(windows, speech, hint)
        return found

    async def event_detector(self) -> EngineInfo:
        info: EngineInfo = await (await self._replica(EventDetectorDeployment)).info()
        return info

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> Timed[list[SoundEvent]]:
        replica = await self._replica(EventDetectorDeployment)
        found: Timed[list[SoundEvent]] = await replica.observe(pcm, offset_secs, lane)
        return found

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> Timed[list[SoundEvent]]:
        replica = await self._replica(EventDetectorDeployment)
        found: Timed[list[SoundEvent]] = await replica.detect(speech, words, duration_secs, heard)
        return found

    def close(self) -> None:
        """Drop the engines; each ends its threads and processes when it is freed."""
        self._loaded.clear()
        gc.collect()

    async def _replica(self, deployment: Any) -> Any:
        async with self._loading:
            if deployment.name not in self._loaded:
                build: Callable[[Settings], Any] = deployment.func_or_class
                self._loaded[deployment.name] = await asyncio.to_thread(build, self._settings)
        return self._loaded[deployment.name]
