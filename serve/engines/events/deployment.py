"""The event detector as a Ray Serve deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ray import serve

from schemas.domain import SAMPLE_RATE_HZ, Lane, Seconds, SoundEvent, Span, Word
from schemas.engines import EngineInfo, Samples
from schemas.settings import Settings
from schemas.speech_engines import Timed
from serve.engines.asr.deployment import samples_from_pcm
from serve.engines.priority_queue import Admission, one_at_a_time
from serve.engines.registry import build_event_detector
from serve.engines.replica_load import ReplicaLoad
from serve.engines.replica_loader import Loaded
from serve.engines.timing import timed


@dataclass(frozen=True, slots=True)
class _Block:
    samples: Samples
    offset_secs: Seconds


@serve.deployment
class EventDetectorDeployment:
    """The configured event detector."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "event_detector", build_event_detector, lambda engine: engine.info)
        self._admission = Admission(self._observe, one_at_a_time, "events")
        self._load = ReplicaLoad()

    async def observe(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> Timed[list[SoundEvent]]:
        """Events in the audio of one block, s16le PCM at 16 kHz mono, that starts at ``offset_secs``.

        Raises InvalidRequest for half a sample, Unavailable where the model could not be loaded.
        """
        block = _Block(samples_from_pcm(pcm), offset_secs)
        with self._load.request() as begun:
            return await self._admission.submit(block, block.samples.size / SAMPLE_RATE_HZ, lane, None, begun)

    async def detect(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> Timed[list[SoundEvent]]:
        """Events sorted by start; all times in seconds from the start of the recording."""
        with self._load.use():
            return await asyncio.to_thread(
                timed, "event_detector", self._loaded.engine.detect, speech, words, duration_secs, heard
            )

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve where the number of replicas follows the load."""
        return self._load.report()

    def _observe(self, blocks: list[_Block]) -> list[Timed[list[SoundEvent]]]:
        return [timed("event_detector", self._loaded.engine.observe, block.samples, block.offset_secs) for block in blocks]
