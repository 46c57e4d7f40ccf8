"""The diariser as a Ray Serve deployment: blocks are observed one by one, a recording is resolved once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ray import serve

from schemas.domain import Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, VoiceWindows
from schemas.settings import Settings
from serve.asr.deployment import samples_from_pcm
from serve.engines import build_diarizer


@serve.deployment(max_ongoing_requests=4)
class DiarizerDeployment:
    """The engine loads and warms itself before the replica is ready."""

    def __init__(self, settings: Settings) -> None:
        self._diarizer = build_diarizer(settings)

    async def observe(self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """Evidence of one block of s16le PCM at 16 kHz mono at ``offset_secs``; ``speech`` counts from its start.

        Raises InvalidRequest for half a sample.
        """
        return await asyncio.to_thread(self._diarizer.observe, samples_from_pcm(pcm), speech, offset_secs)

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns of the whole recording, in seconds from its start; ``hint`` bounds the number of speakers."""
        return await asyncio.to_thread(self._diarizer.resolve, windows, speech, hint)

    async def info(self) -> EngineInfo:
        return self._diarizer.info
