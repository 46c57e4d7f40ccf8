"""The event detector as a Ray Serve deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ray import serve

from schemas.domain import Seconds, SoundEvent, Span, Word
from schemas.engines import EngineInfo
from schemas.settings import Settings
from serve.asr.deployment import samples_from_pcm
from serve.engines import build_event_detector
from serve.loading import Loaded


@serve.deployment
class EventDetectorDeployment:
    """Sounds that are not words, found by whichever engine is chosen."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "event_detector", build_event_detector, lambda engine: engine.info)

    async def observe(self, pcm: bytes, offset_secs: Seconds) -> list[SoundEvent]:
        """What is heard in one block of s16le PCM at 16 kHz mono that starts at ``offset_secs``.

        Raises InvalidRequest for half a sample.
        """
        return await asyncio.to_thread(self._loaded.engine.observe, samples_from_pcm(pcm), offset_secs)

    async def detect(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        """Events sorted by start; all times in seconds from the start of the recording."""
        return await asyncio.to_thread(self._loaded.engine.detect, speech, words, duration_secs, heard)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info
