"""The event detector as a Ray Serve deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ray import serve

from schemas.domain import SAMPLE_RATE_HZ, Lane, Seconds, SoundEvent, Span, Word
from schemas.engines import EngineInfo, Samples
from schemas.settings import Settings
from serve.asr.admission import Admission, one_at_a_time
from serve.asr.deployment import samples_from_pcm
from serve.engines import build_event_detector
from serve.loading import Loaded


@dataclass(frozen=True, slots=True)
class _Block:
    samples: Samples
    offset_secs: Seconds


@serve.deployment
class EventDetectorDeployment:
    """Sounds that are not words, found by whichever engine is chosen."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "event_detector", build_event_detector, lambda engine: engine.info)
        self._admission = Admission(self._observe, one_at_a_time, "events")

    async def observe(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> list[SoundEvent]:
        """What is heard in one block of s16le PCM at 16 kHz mono that starts at ``offset_secs``.

        Raises InvalidRequest for half a sample, Unavailable where the model could not be loaded.
        """
        block = _Block(samples_from_pcm(pcm), offset_secs)
        return await self._admission.submit(block, block.samples.size / SAMPLE_RATE_HZ, lane)

    async def detect(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        """Events sorted by start; all times in seconds from the start of the recording."""
        return await asyncio.to_thread(self._loaded.engine.detect, speech, words, duration_secs, heard)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    def _observe(self, blocks: list[_Block]) -> list[list[SoundEvent]]:
        return [self._loaded.engine.observe(block.samples, block.offset_secs) for block in blocks]
