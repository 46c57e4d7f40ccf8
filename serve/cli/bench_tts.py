"""How fast a running server speaks, heard from outside: first audible byte, pace, gaps a player would hear, memory.

The standard library's HTTP client in threads, as in `serve.cli.bench_submit`: what is measured is the server.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.errors import FluxionsError, error_from_response
from serve.cli.client import Target
from serve.cli.measures import Measure, percentile
from serve.cli.output import note

SENTENCES = (
    "The old man walked slowly along the river in the morning.",
    "She opened the window and looked out over the garden.",
    "The committee will discuss the budget of $4,500 next week.",
    "He put the letter on the table, and left the room at 7:30.",
)
_AUDIBLE = 0.01 * 32768
"""-40 dBFS."""
_READ_BYTES = 4096
_TIMEOUT_SECS = 300.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One streamed render as its client met it; times from the first byte sent."""

    first_byte_secs: Seconds
    audible_secs: Seconds
    wall_secs: Seconds
    audio_secs: Seconds
    starved_secs: Seconds
    """Longest time a player that starts with the first byte and never pauses would have waited for sound."""


class Speaker:
    """One connection that renders again and again."""

    def __init__(self, target: Target, voice: str) -> None:
        self._target = target
        self._voice = voice
        parts = urlsplit(target.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECS)
        self._path = f"{parts.path.rstrip('/')}/vui/v1/tts?stream=1"

    def render(self, text: str, *, verify: bool) -> Heard:
        """Raises what the server refuses with."""
        ask = {"voice": self._voice, "input": text, "response_format": "pcm", "verify_chunks": verify}
        headers = {"Content-Type": "application/json"} | ({"Authorization": self._target.key} if self._target.key else {})
        began = time.perf_counter()
        self._connection.request("POST", self._path, json.dumps(ask), headers)
        response = self._connection.getresponse()
        if response.status != 200:
            body = response.read()
            raise error_from_response(response.status, json.loads(body) if body.startswith(b"{") else None)
        return _listen(response, began)

    def close(self) -> None:
        self._connection.close()


def _listen(response: http.client.HTTPResponse, began: float) -> Heard:
    first = audible = starved = 0.0
    size = 0
    while piece := response.read1(_READ_BYTES):
        now = time.perf_counter() - began
        if not size:
            first = now
        starved = max(starved, now - first - size / 2 / SPEECH_RATE_HZ)
        if not audible and np.abs(np.frombuffer(piece[: len(piece) // 2 * 2], "<i2").astype(np.int32)).max() > _AUDIBLE:
            audible = now
        size += len(piece)
    if not audible:
        raise FluxionsError("a render was silent")
    return Heard(first, audible, time.perf_counter() - began, size / 2 / SPEECH_RATE_HZ, starved)


def together(target: Target, voice: str, streams: int, renders: int, *, verify: bool) -> list[Heard]:
    """``renders`` renders over ``streams`` connections at once. Raises the first error of any."""
    heard: list[Heard] = []
    errors: list[BaseException] = []
    numbers = itertools.count()
    lock = threading.Lock()

    def run() -> None:
        speaker = Speaker(target, voice)
        try:
            while not errors:
                with lock:
                    number = next(numbers)
                if number >= renders:
                    return
                one = speaker.render(SENTENCES[number % len(SENTENCES)], verify=verify)
                with lock:
                    heard.append(one)
        except BaseException as error:  # handed to the caller, who raises it
            errors.append(error)
        finally:
            speaker.close()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return heard


def measure(
    target: Target, *, voice: str, renders: int, memory_renders: int, memory: Callable[[], dict[str, float]] | None
) -> list[Measure]:
    """``memory`` gives the processes of a server and their resident MiB, where they can be seen. Raises as `together`."""
    together(target, voice, 1, 3, verify=False)
    found: list[Measure] = []
    for streams in (1, 8):
        found += _latencies(f"unverified, {streams} at once", together(target, voice, streams, renders, verify=False))
    found += _latencies("verified", together(target, voice, 1, max(4, renders // 5), verify=True))
    found += _pace(target, voice)
    if memory is not None and memory_renders:
        before = memory()
        note(f"{memory_renders} renders for memory …")
        together(target, voice, 4, memory_renders // 2, verify=False)
        middle = memory()
        together(target, voice, 4, memory_renders - memory_renders // 2, verify=False)
        after = memory()
        for name in sorted(after.keys() & middle.keys() & before.keys()):
            found.append(Measure(f"memory of {name}, before", before[name], "MiB"))
            found.append(Measure(f"memory of {name}, after {memory_renders // 2} renders", middle[name], "MiB"))
            found.append(Measure(f"memory of {name}, after {memory_renders} renders", after[name], "MiB"))
    return found


def _latencies(what: str, heard: list[Heard]) -> list[Measure]:
    audible = [one.audible_secs * 1000 for one in heard]
    return [
        Measure(f"first audible byte, {what}, p50", percentile(audible, 0.5), "ms"),
        Measure(f"first audible byte, {what}, p99", percentile(audible, 0.99), "ms"),
        Measure(f"longest wait of a player, {what}", max(one.starved_secs for one in heard) * 1000, "ms"),
    ]


def _pace(target: Target, voice: str) -> list[Measure]:
    """A text of some minutes at once: how much faster than it plays."""
    speaker = Speaker(target, voice)
    try:
        heard = speaker.render(" ".join(SENTENCES * 15), verify=False)
    finally:
        speaker.close()
    return [
        Measure("sound of one long text", heard.audio_secs, "s"),
        Measure("long text, times real time", heard.audio_secs / heard.wall_secs, "x"),
        Measure("longest wait of a player, long text", heard.starved_secs * 1000, "ms"),
    ]


def memory_of(marker: str) -> Callable[[], dict[str, float]]:
    """Resident memory of an instance's gateway and synthesiser replicas on this machine."""
    import psutil

    from serve.instance import MARKER
    from serve.processes import marked

    def look() -> dict[str, float]:
        sizes: dict[str, float] = {}
        for process in marked(MARKER, marker):
            try:
                title = " ".join(process.cmdline())
                for name in ("Gateway", "SynthesizerDeployment"):
                    if name in title:
                        sizes[name] = sizes.get(name, 0.0) + process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
        return sizes

    return look
