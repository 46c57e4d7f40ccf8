"""A long mixed load on a running instance: whether its processes hold more and more memory, descriptors or threads."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
import psutil
from websockets.exceptions import WebSocketException

from benchmarks.measure import Measure, Note
from benchmarks.platform import leaks
from benchmarks.platform.submit import recordings
from clients.public import Target
from schemas.errors import Unavailable

_CLIENTS: Final = 2
_PAUSE_SECS: Final = 0.2
"""Rest of each client after each request: the load is steady, and far below what two cores can take."""
_SAMPLE_SECS: Final = 30.0
_LONGEST_JOB_SECS: Final = 120.0
_WARM_SHARE: Final = 1 / 3
"""Part of the time that is not judged: caches fill and libraries load."""


def _submit_and_wait(client: httpx.Client, bodies: Iterator[bytes]) -> bool:
    answer = client.post("/submit", content=next(bodies))
    if not answer.is_success:
        return False
    path = f"/transcriptions/{answer.json()['id']}"
    ends = time.monotonic() + _LONGEST_JOB_SECS
    while client.get(path).raise_for_status().json()["status"] in ("submitted", "processing"):
        if time.monotonic() > ends:
            return False
        time.sleep(_PAUSE_SECS)
    return True


def _render(client: httpx.Client, _: Iterator[bytes]) -> bool:
    return client.post("/vui/v1/tts", json=leaks.RENDER).is_success


def _read(client: httpx.Client, _: Iterator[bytes]) -> bool:
    paths = ("/transcriptions", "/history", "/history/search?q=three", "/vui/voices", "/ready")
    return all(client.get(path).is_success for path in paths)


CYCLES: Final[Mapping[str, leaks.Cycle]] = {
    **leaks.CYCLES,
    "a recording transcribed": _submit_and_wait,
    "a text rendered": _render,
    "lists, a search and states read": _read,
}


@dataclass(slots=True)
class _Load:
    """Requests that were carried out and refused, counted by kind, until ``stop`` is set."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, target: Target) -> None:
        """Carry out all kinds in turn."""
        bodies = recordings(leaks.SIZE_BYTES)
        headers = {"Authorization": target.key}
        with httpx.Client(base_url=target.url, headers=headers, timeout=60, trust_env=False) as client:
            for name, cycle in itertools.cycle(CYCLES.items()):
                accepted = False
                with contextlib.suppress(httpx.HTTPError, WebSocketException, OSError):
                    accepted = cycle(client, bodies)
                (self.done if accepted else self.refused)[name] += 1
                if self.stop.wait(_PAUSE_SECS):
                    return


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes of each role held, ``secs`` after the beginning."""

    secs: float
    held: Mapping[str, leaks.Held]


def measure(target: Target, processes: Callable[[], list[psutil.Process]], minutes: float, note: Note) -> list[Measure]:
    """Requests by kind, and for each role the growth of what it holds after the first third of ``minutes``.

    ``processes`` gives the instance's processes. Raises Unavailable if the server refuses all requests of a kind.
    """
    load, samples, began = _Load(), list[Sample](), time.monotonic()
    threads = [threading.Thread(target=load.run, args=(target,), daemon=True) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        while (secs := time.monotonic() - began) < minutes * 60:
            samples.append(Sample(secs, leaks.held(processes())))
            note(_line(samples[-1], load))
            time.sleep(min(_SAMPLE_SECS, max(0.0, minutes * 60 - secs)))
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
    samples.append(Sample(time.monotonic() - began, leaks.held(processes())))
    if silent := set(CYCLES) - set(load.done):
        raise Unavailable(f"{silent.pop()}: the server refused all")
    counts = [Measure(f"done: {name}", load.done[name], "") for name in CYCLES]
    return [*counts, Measure("refused or failed", sum(load.refused.values()), ""), *growth(samples)]


def growth(samples: list[Sample]) -> list[Measure]:
    """For each role that lived throughout: its memory at the end, and what it gained after the first third.

    The slope of memory is that of the line of least squares. At least three samples have to be in the part that is judged.
    """
    judged = [one for one in samples if one.secs >= samples[-1].secs * _WARM_SHARE]
    found = []
    for role in judged[0].held:
        series = [(one.secs / 3600, one.held[role]) for one in judged if role in one.held]
        if len(series) < len(judged):
            continue
        hours, memory = [at for at, _ in series], [held.rss_mib for _, held in series]
        slope = statistics.linear_regression(hours, memory).slope
        first, last = series[0][1], series[-1][1]
        found += [
            Measure(f"{role}: memory at the end", last.rss_mib, "MiB"),
            Measure(f"{role}: memory", slope, "MiB/h"),
            Measure(f"{role}: descriptors", last.descriptors - first.descriptors, ""),
            Measure(f"{role}: threads", last.threads - first.threads, ""),
            Measure(f"{role}: children", last.children - first.children, ""),
        ]
    return found


def _line(sample: Sample, load: _Load) -> str:
    memory = ", ".join(f"{role} {held.rss_mib:.0f}" for role, held in sample.held.items())
    return f"{sample.secs:.0f} s, {sum(load.done.values())} done, {sum(load.refused.values())} refused; MiB: {memory}"
