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


@serve.deployment(max_ongoing_requests=16)
class EventDetectorDeployment:
    """Sounds that are not words, found by whichever engine the profile names."""

    def __init__(self, settings: Settings) -> None:
        self._detector = build_event_detector(settings)

    async def observe(self, pcm: bytes, offset_secs: Seconds) -> list[SoundEvent]:
        """What is heard in one block of s16le PCM at 16 kHz mono that starts at ``offset_secs``.

        Raises InvalidRequest for half a sample.
        """
        return await asyncio.to_thread(self._detector.observe, samples_from_pcm(pcm), offset_secs)

    async def detect(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        """Events sorted by start; all times in seconds from the start of the recording."""
        return await asyncio.to_thread(self._detector.detect, speech, words, duration_secs, heard)

    async def info(self) -> EngineInfo:
        return self._detector.info
