"""The diariser as a Ray Serve deployment: `observe` for each block, `resolve` once for a recording."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ray import serve

from schemas.domain import SAMPLE_RATE_HZ, Lane, Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from schemas.settings import Settings
from schemas.speech_engines import Timed
from serve.engines.asr.deployment import samples_from_pcm
from serve.engines.priority_queue import Admission, one_at_a_time
from serve.engines.registry import build_diarizer
from serve.engines.replica_load import ReplicaLoad
from serve.engines.replica_loader import Loaded
from serve.engines.timing import timed


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
        self._load = ReplicaLoad()

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds = 0.0, lane: Lane = "interactive"
    ) -> Timed[VoiceWindows]:
        """Features of one block of s16le PCM at 16 kHz mono at ``offset_secs``; ``speech`` counts from its start.

        Raises InvalidRequest for half a sample, Unavailable where the model could not be loaded.
        """
        block = _Block(samples_from_pcm(pcm), speech, offset_secs)
        with self._load.request() as begun:
            return await self._admission.submit(block, block.samples.size / SAMPLE_RATE_HZ, lane, None, begun)

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> Timed[list[Turn]]:
        """Turns of the whole recording, in seconds from its start; ``hint`` bounds the number of speakers."""
        with self._load.use():
            return await asyncio.to_thread(timed, "diarizer", self._loaded.engine.resolve, windows, speech, hint)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve where the number of replicas follows the load."""
        return self._load.report()

    def _observe(self, blocks: list[_Block]) -> list[Timed[VoiceWindows]]:
        observe = self._loaded.engine.observe
        return [timed("diarizer", observe, block.samples, block.speech, block.offset_secs) for block in blocks]
