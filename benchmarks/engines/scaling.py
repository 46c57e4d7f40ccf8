"""How the replicas of an engine follow the load, and how long the first request waits for an engine that was ended."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from ray import serve
from ray.serve.handle import DeploymentHandle

from audio.pcm import to_int16
from benchmarks.engines.ray_serve import ray_serve
from benchmarks.measure import Measure, percentile
from schemas.domain import Seconds, Slot
from schemas.settings import Settings
from serve.engines.asr.deployment import RecognizerDeployment
from serve.engines.diarization.deployment import DiarizerDeployment
from serve.engines.events.deployment import EventDetectorDeployment
from serve.engines.language_models.deployment import LanguageModelDeployment
from serve.engines.placement import options
from serve.engines.self_test import sample_speech
from serve.engines.tts.deployment import SynthesizerDeployment

DEPLOYMENTS: Final[dict[Slot, Any]] = {
    "recognizer": RecognizerDeployment,
    "diarizer": DiarizerDeployment,
    "event_detector": EventDetectorDeployment,
    "synthesizer": SynthesizerDeployment,
    "language_model": LanguageModelDeployment,
}
_DEADLINE_SECS: Final = 1200.0
_LOOK_SECS: Final = 0.25


def measure(settings: Settings, clients: int, replicas: int, note: Callable[[str], None]) -> list[Measure]:
    """The recogniser under ``clients`` requests at a time, with up to ``replicas`` replicas, then every engine from none.

    Raises Unavailable for a model that cannot load, TimeoutError if replicas do not come or go within 20 minutes.
    """
    with ray_serve() as gpus:
        followed = asyncio.run(_follow(settings, gpus, clients, replicas, note))
        return followed + [asyncio.run(_from_none(settings, gpus, slot, note)) for slot in DEPLOYMENTS]


def _deployed(settings: Settings, gpus: float, slot: Slot) -> DeploymentHandle[Any]:
    placed = DEPLOYMENTS[slot].options(**options(settings, slot, gpus)).bind(settings)
    return serve.run(placed, name=slot, route_prefix=None)


async def _follow(
    settings: Settings, gpus: float, clients: int, replicas: int, note: Callable[[str], None]
) -> list[Measure]:
    engines = settings.engines.model_copy(update={"recognizer_replicas": 1, "recognizer_replicas_max": replicas})
    chosen = settings.model_copy(update={"engines": engines})
    handle = await asyncio.to_thread(_deployed, chosen, gpus, "recognizer")
    sound = to_int16(sample_speech()).tobytes()
    waits: list[tuple[Seconds, Seconds]] = []
    """When each request ended, and how long it took."""

    async def client() -> None:
        while True:
            began = time.monotonic()
            await handle.recognize.remote(sound)
            waits.append((time.monotonic(), time.monotonic() - began))

    began = time.monotonic()
    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        grown_secs = await _until("recognizer", lambda count: count == replicas) - began
        note(f"{replicas} replicas after {grown_secs:.0f} s")
        await asyncio.sleep(grown_secs)  # as long again, for the latency with all of them
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    alone = [wait for ended, wait in waits if ended < began + grown_secs]
    together = [wait for ended, wait in waits if ended - wait > began + grown_secs]
    ended = time.monotonic()
    shrunk_secs = await _until("recognizer", lambda count: count == 1) - ended
    await asyncio.to_thread(serve.delete, "recognizer")
    return [
        Measure(f"{clients} clients: until {replicas} replicas run", grown_secs, "s"),
        Measure("wait for a transcript before that, p50", statistics.median(alone), "s"),
        Measure("wait for a transcript after that, p50", statistics.median(together), "s"),
        Measure("wait for a transcript after that, p95", percentile(together, 0.95), "s"),
        Measure("after the last request: until one replica runs", shrunk_secs, "s"),
    ]


async def _from_none(settings: Settings, gpus: float, slot: Slot, note: Callable[[str], None]) -> Measure:
    scaling = settings.scaling.model_copy(update={"engine_idle_secs": 1.0, "engine_idle_slots": ""})
    handle = await asyncio.to_thread(_deployed, settings.model_copy(update={"scaling": scaling}), gpus, slot)
    await _until(slot, lambda count: count == 0)
    began = time.monotonic()
    await handle.info.remote()
    took = time.monotonic() - began
    await asyncio.to_thread(serve.delete, slot)
    note(f"{slot} from none: {took:.1f} s")
    return Measure(f"first request without a replica: {slot}", took, "s")


async def _until(name: str, wanted: Callable[[int], bool]) -> Seconds:
    """The moment at which the number of running replicas is as ``wanted``. Raises TimeoutError after 20 minutes."""
    async with asyncio.timeout(_DEADLINE_SECS):
        while not wanted(await asyncio.to_thread(_running, name)):  # noqa: ASYNC110 - Serve tells nobody
            await asyncio.sleep(_LOOK_SECS)
    return time.monotonic()


def _running(name: str) -> int:
    (deployment,) = serve.status().applications[name].deployments.values()
    return sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
