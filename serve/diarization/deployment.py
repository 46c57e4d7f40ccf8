"""The diariser as a Ray Serve deployment: blocks are observed one by one, a recording is resolved once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ray import serve

from schemas.domain import SAMPLE_RATE_HZ, Lane, Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from schemas.settings import Settings
from serve.asr.admission import Admission, one_at_a_time
from serve.asr.deployment import samples_from_pcm
from serve.engines import build_diarizer
from serve.loading import Loaded


@dataclass(frozen=True, slots=True)
class _Block:
    samples: Samples
    speech: Sequence[Span]
    offset_secs: Seconds


@serve.deployment
class DiarizerDeployment:
    """The engine loads and warms itself before the replica is ready."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "diarizer", build_diarizer, lambda engine: engine.info)
        self._admission = Admission(self._observe, one_at_a_time, "diarizer")

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds = 0.0, lane: Lane = "interactive"
    ) -> VoiceWindows:
        """Evidence of one block of s16le PCM at 16 kHz mono at ``offset_secs``; ``speech`` counts from its start.

        Raises InvalidRequest for half a sample, Unavailable where the model could not be loaded.
        """
        block = _Block(samples_from_pcm(pcm), speech, offset_secs)
        return await self._admission.submit(block, block.samples.size / SAMPLE_RATE_HZ, lane)

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns of the whole recording, in seconds from its start; ``hint`` bounds the number of speakers."""
        return await asyncio.to_thread(self._loaded.engine.resolve, windows, speech, hint)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    def _observe(self, blocks: list[_Block]) -> list[VoiceWindows]:
        return [self._loaded.engine.observe(block.samples, block.speech, block.offset_secs) for block in blocks]
