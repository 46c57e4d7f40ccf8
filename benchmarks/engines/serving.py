"""Throughput of a recogniser behind Ray Serve relative to the bare model, by batch size, without HTTP, jobs and files.

Both are measured alternately in one replica, on one loaded model. The bare model processes prepared batches in a loop.
Through Serve each utterance is a request, twice a batch size of requests are always under way, and the replica forms the
batches with the production code.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ray import serve

from audio.pcm import to_int16
from benchmarks.engines.model_shapes import Shape, build_tdt
from benchmarks.engines.ray_serve import ray_serve
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import Samples
from schemas.settings import Settings
from serve.engines.asr.batching import Batcher, Utterance
from serve.engines.asr.deployment import samples_from_pcm
from serve.engines.placement import options
from serve.engines.priority_queue import Admission
from serve.engines.registry import build_recognizer
from serve.engines.self_test import gpu_memory_mib, memory_mib, sample_speech

BATCHES: Final = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Medians over the rounds. RTFx: seconds of audio for a second of work; ``share``: served to bare in the same round."""

    batch: int
    bare_rtfx: float
    served_rtfx: float
    share: float


@dataclass(frozen=True, slots=True)
class EngineBench:
    engine: str
    model: str
    revision: str
    utterance_secs: Seconds
    overhead_ms: float
    """Overhead of a single request: the time through Serve minus that of the bare model."""
    load_secs: Seconds
    memory_mib: float
    gpu_memory_mib: float | None
    rows: tuple[BatchRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@serve.deployment
class BenchedRecognizer:
    """A recogniser that can be called directly and through its queue."""

    def __init__(self, settings: Settings) -> None:
        before, began = memory_mib(), time.monotonic()
        self._recognizer = build_recognizer(settings)
        self._load_secs = time.monotonic() - began
        self._before_mib = before
        self._budget_secs = settings.engines.asr_batch_secs
        self._serving: dict[int, Admission[Utterance, Recognition]] = {}

    async def recognize(self, pcm: bytes, batch: int) -> Recognition:
        samples = samples_from_pcm(pcm)
        if batch not in self._serving:
            batcher = Batcher(self._recognizer, batch, max(self._budget_secs, batch * samples.size / SAMPLE_RATE_HZ))
            self._serving[batch] = Admission(batcher.run, batcher.choose, "bench")
        return await self._serving[batch].submit(Utterance(samples), samples.size / SAMPLE_RATE_HZ, "archive")

    async def bare(self, pcm: Sequence[bytes], batch: int, calls: int) -> list[Seconds]:
        """The time of each of ``calls`` batches, s."""
        return await asyncio.to_thread(self._bare, [samples_from_pcm(one) for one in pcm], batch, calls)

    async def about(self) -> dict[str, Any]:
        info = self._recognizer.info
        return {
            "engine": info.engine,
            "model": info.model,
            "revision": info.revision,
            "load_secs": self._load_secs,
            "memory_mib": memory_mib() - self._before_mib,
            "gpu_memory_mib": gpu_memory_mib(),
        }

    def _bare(self, sounds: Sequence[Samples], batch: int, calls: int) -> list[Seconds]:
        found = []
        for call in range(calls):
            given = [sounds[(call * batch + n) % len(sounds)] for n in range(batch)]
            began = time.monotonic()
            self._recognizer.recognize(given)
            found.append(time.monotonic() - began)
        return found


def measure(
    settings: Settings, batches: Sequence[int], utterance_secs: Seconds, seconds: Seconds, rounds: int
) -> EngineBench:
    """Starts Ray on this machine and stops it afterwards. ``seconds``: length of each measure in each round.

    Raises Unavailable for a model that cannot load.
    """
    build_recognizer(settings).close()  # raises the cause, which the death of a replica would hide
    with ray_serve() as gpus:
        placed = {**options(settings, "recognizer", gpus), "num_replicas": 1, "max_ongoing_requests": 4 * max(batches)}
        placed.pop("autoscaling_config", None)
        deployment: Any = BenchedRecognizer
        handle = serve.run(deployment.options(**placed).bind(settings), name="bench", route_prefix=None)
        return asyncio.run(measure_handle(handle, batches, utterance_secs, seconds, rounds))


def measure_shape(
    settings: Settings, shape: Shape, batches: Sequence[int], utterance_secs: Seconds, seconds: Seconds, rounds: int
) -> EngineBench:
    """`measure` on a temporary model of a production shape with random weights."""
    with tempfile.TemporaryDirectory(prefix="fx-shape-") as folder:
        chosen = {"asr_engine": "nemo", "asr_model": str(build_tdt(Path(folder), shape))}
        engines = settings.engines.model_copy(update=chosen)
        return measure(settings.model_copy(update={"engines": engines}), batches, utterance_secs, seconds, rounds)


async def measure_handle(
    handle: Any, batches: Sequence[int], utterance_secs: Seconds, seconds: Seconds, rounds: int
) -> EngineBench:
    """`measure` of a BenchedRecognizer that runs already."""
    sounds = _sounds(utterance_secs, 2 * max(batches))
    rows = [await _row(handle, sounds, batch, utterance_secs, seconds, rounds) for batch in batches]
    alone, bare = [], []
    for _ in range(max(20, 10 * rounds)):
        began = time.monotonic()
        await handle.recognize.remote(sounds[0], 1)
        alone.append(time.monotonic() - began)
        bare += await handle.bare.remote(sounds[:1], 1, 1)
    overhead_ms = 1e3 * (statistics.median(alone) - statistics.median(bare))
    return EngineBench(
        utterance_secs=utterance_secs, overhead_ms=overhead_ms, rows=tuple(rows), **await handle.about.remote()
    )


async def _row(
    handle: Any, sounds: Sequence[bytes], batch: int, utterance_secs: Seconds, seconds: Seconds, rounds: int
) -> BatchRow:
    once = statistics.median(await handle.bare.remote(sounds, batch, 3))
    calls = max(4, round(seconds / once))
    bare, served = [], []
    for _ in range(rounds):
        bare.append(utterance_secs * batch * calls / sum(await handle.bare.remote(sounds, batch, calls)))
        served.append(utterance_secs * batch * calls / await _through_serve(handle, sounds, batch, batch * calls))
    shares = [through / alone for through, alone in zip(served, bare, strict=True)]
    return BatchRow(batch, statistics.median(bare), statistics.median(served), statistics.median(shares))


async def _through_serve(handle: Any, sounds: Sequence[bytes], batch: int, count: int) -> Seconds:
    """Time for ``count`` requests while two batches are always under way, s.

    The first two batches and the last two are not counted, because the queue fills and empties with them.
    """
    lead = 2 * batch
    numbers, done = iter(range(count + 2 * lead)), []

    async def client() -> None:
        for number in numbers:
            await handle.recognize.remote(sounds[number % len(sounds)], batch)
            done.append(time.monotonic())

    await asyncio.gather(*(client() for _ in range(lead)))
    return done[lead + count - 1] - done[lead - 1]


def _sounds(utterance_secs: Seconds, count: int) -> list[bytes]:
    """Different cuts of rendered speech of equal length, s16le at 16 kHz."""
    speech = sample_speech()
    size = round(utterance_secs * SAMPLE_RATE_HZ)
    long = np.tile(speech, 2 + size // speech.size)
    starts = np.linspace(0, speech.size, count, endpoint=False).astype(int)
    return [to_int16(long[start : start + size]).tobytes() for start in starts]
