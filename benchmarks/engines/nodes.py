"""What a second machine adds: throughput of two machines by that of one, and the time of a request to another machine.

The recogniser SLEEPS, so that two machines fit on this one. Ray, TLS between machines, the routing of requests and the
queue of each replica are those of the platform; gateways, jobs and files are not measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from ray import serve

from benchmarks.engines.machines import ALONE, PAIR, machines
from benchmarks.measure import Measure, Note, percentile
from runtime.children import ROOT
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import Samples
from schemas.settings import Settings
from serve.engines.asr.batching import Batcher, Utterance
from serve.engines.asr.deployment import samples_from_pcm
from serve.engines.placement import PLACEMENT_CPUS
from serve.engines.priority_queue import Admission

_ENGINE_SECS: Final = 0.04
"""Sleep for each utterance."""
_BATCH: Final = 4
_UTTERANCE_SECS: Final = 5.0
_BATCHES_UNDER_WAY: Final = 4
"""For each replica, so that it never waits for the next request."""
_WARM_SECS: Final = 3.0
_CALLS: Final = 200
"""Requests one after another for the latency."""
_DEADLINE_SECS: Final = 300.0


class SleepingRecognizer:
    """Sleeps for each utterance and hears nothing."""

    def recognize(self, batch: Sequence[Samples], *_: object) -> list[Recognition]:
        time.sleep(_ENGINE_SECS * len(batch))
        return [Recognition(()) for _ in batch]


@serve.deployment
class Sleeper:
    """A replica with the queue and the batches of a recogniser's."""

    def __init__(self) -> None:
        recognizer: Any = SleepingRecognizer()
        batcher = Batcher(recognizer, _BATCH, _BATCH * _UTTERANCE_SECS)
        self._admission = Admission(batcher.run, batcher.choose, "bench")
        self._machine = ray.get_runtime_context().get_node_id()

    async def recognize(self, pcm: bytes) -> tuple[str, Seconds]:
        """The machine, and the time that the request spent in this replica."""
        began = time.monotonic()
        samples = samples_from_pcm(pcm)
        await self._admission.submit(Utterance(samples), samples.size / SAMPLE_RATE_HZ, "archive")
        return self._machine, time.monotonic() - began


def measure(seconds: Seconds, rounds: int, note: Note) -> list[Measure]:
    """Medians of ``rounds`` with one machine and then two, each for ``seconds`` of full load.

    Raises Unavailable if Ray does not start.
    """
    runs: dict[int, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for addresses in (ALONE, PAIR):
            with tempfile.TemporaryDirectory(prefix="fx-nodes-") as folder, machines(Path(folder), addresses) as env:
                runs[len(addresses)].append(_driven(env, len(addresses), seconds))
                note(f"machines: {len(addresses)}, requests a second: {runs[len(addresses)][-1]['throughput']:.1f}")
    one, two = ({name: statistics.median(run[name] for run in runs[count]) for name in runs[count][0]} for count in (1, 2))
    return [
        Measure("requests a second, one machine", one["throughput"], "1/s"),
        Measure("requests a second, two machines", two["throughput"], "1/s"),
        Measure("two machines by one", two["throughput"] / one["throughput"], ""),
        Measure("around the engine, one machine without a cluster, p50", 1e3 * one["own_p50"], "ms"),
        Measure("around the engine, own machine of a cluster, p50", 1e3 * two["own_p50"], "ms"),
        Measure("around the engine, another machine of a cluster, p50", 1e3 * two["other_p50"], "ms"),
        Measure("around the engine, another machine of a cluster, p95", 1e3 * two["other_p95"], "ms"),
        Measure("added by the way to another machine, p50", 1e3 * (two["other_p50"] - one["own_p50"]), "ms"),
    ]


def _driven(env: Mapping[str, str], count: int, seconds: Seconds) -> dict[str, float]:
    """The results of `main` in a process of its own, because Ray reads its settings from the environment once."""
    command = [sys.executable, "-m", "benchmarks.engines.nodes", str(count), str(seconds)]
    limit = _DEADLINE_SECS + seconds
    done = subprocess.run(command, env=dict(env), cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=limit)
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _throughput(handle: Any, pcm: bytes, replicas: int, seconds: Seconds) -> float:
    """Requests a second in ``seconds`` of full load, which begin `_WARM_SECS` after the first request."""
    ended: list[Seconds] = []
    first = time.monotonic() + _WARM_SECS

    async def client() -> None:
        while time.monotonic() < first + seconds:
            await handle.recognize.remote(pcm)
            ended.append(time.monotonic())

    await asyncio.gather(*(client() for _ in range(_BATCHES_UNDER_WAY * _BATCH * replicas)))
    return sum(first <= moment <= first + seconds for moment in ended) / seconds


async def _around(handle: Any, pcm: bytes) -> dict[str, list[Seconds]]:
    """By machine: the time of each request without its time in the replica."""
    found: dict[str, list[Seconds]] = defaultdict(list)
    for _ in range(_CALLS):
        began = time.monotonic()
        machine, inside_secs = await handle.recognize.remote(pcm)
        found[machine].append(time.monotonic() - began - inside_secs)
    return found


def _handle(replicas: int) -> Any:
    resources = {"fluxions_engines": 0.6} if Settings().cluster.places_by_role else None
    options = {"num_cpus": PLACEMENT_CPUS, "resources": resources}
    deployment: Any = Sleeper
    placed = deployment.options(num_replicas=replicas, max_ongoing_requests=64, ray_actor_options=options)
    return serve.run(placed.bind(), name="bench", route_prefix=None)


def main(count: int, seconds: Seconds) -> None:
    """On the head of ``count`` machines: print the results as JSON. Raises TimeoutError if a machine does not come."""
    from serve.deploy import connect

    connect()
    deadline = time.monotonic() + _DEADLINE_SECS
    while sum(node["Alive"] for node in ray.nodes()) < count:  # type: ignore[no-untyped-call]
        if time.monotonic() > deadline:
            raise TimeoutError(f"fewer than {count} machines")
        time.sleep(0.2)
    serve.start(proxy_location="Disabled")
    handle = _handle(count)
    pcm = np.zeros(round(_UTTERANCE_SECS * SAMPLE_RATE_HZ), np.int16).tobytes()

    async def run() -> dict[str, float]:
        throughput = await _throughput(handle, pcm, count, seconds)
        around = await _around(handle, pcm)  # Of replicas that are warm by now.
        own = around.pop(ray.get_runtime_context().get_node_id())
        (other,) = around.values() or ([0.0],)
        return {
            "throughput": throughput,
            "own_p50": statistics.median(own),
            "other_p50": statistics.median(other),
            "other_p95": percentile(other, 0.95),
        }

    print(json.dumps(asyncio.run(run())))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
