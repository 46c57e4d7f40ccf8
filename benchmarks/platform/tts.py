"""Synthesis of a running server, measured at the client: first audible byte, speed, gaps in playback, memory.

Uses the standard library's HTTP client in threads, as `benchmarks.platform.submit` does.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from benchmarks.measure import Measure, Note, percentile
from clients.public import Target
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.errors import FluxionsError, error_from_response

SENTENCES = (
    "The old man walked slowly along the river in the morning.",
    "She opened the window and looked out over the garden.",
    "The committee will discuss the budget of $4,500 next week.",
    "He put the letter on the table, and left the room at 7:30.",
)
SHORT_CLAUSE_FIRST = (
    "Of course, I can tell you how the sky comes to be so blue.",
    "Good morning, and welcome to the river house by the sea.",
    "The sky is blue, as far as anybody can see from the garden.",
    "Not at all, the train to the city leaves at seven today.",
)
"""Texts that begin with a clause of up to 20 characters, like answers in a conversation."""
_AUDIBLE = 0.01 * 32768
"""-40 dBFS."""
_READ_BYTES = 4096
_TIMEOUT_SECS = 300.0


@dataclass(frozen=True, slots=True)
class RenderTiming:
    """One streamed render as seen by its client; times from the first byte sent."""

    first_byte_secs: Seconds
    audible_secs: Seconds
    wall_secs: Seconds
    audio_secs: Seconds
    starved_secs: Seconds
    """Longest gap in playback for a player that starts with the first byte."""


class Speaker:
    """One connection that renders again and again."""

    def __init__(self, target: Target, voice: str) -> None:
        self._target = target
        self._voice = voice
        parts = urlsplit(target.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECS)
        self._path = f"{parts.path.rstrip('/')}/vui/v1/tts?stream=1"

    def render(self, text: str, *, verify: bool) -> RenderTiming:
        """Render ``text``. Raises the server's error."""
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


def _listen(response: http.client.HTTPResponse, began: float) -> RenderTiming:
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
    return RenderTiming(first, audible, time.perf_counter() - began, size / 2 / SPEECH_RATE_HZ, starved)


def together(
    target: Target, voice: str, streams: int, renders: int, *, verify: bool, texts: Sequence[str] = SENTENCES
) -> list[RenderTiming]:
    """``renders`` renders of ``texts`` in turn over ``streams`` connections at once. Raises the first error of any."""
    heard: list[RenderTiming] = []
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
                one = speaker.render(texts[number % len(texts)], verify=verify)
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
    target: Target,
    note: Note,
    *,
    voice: str,
    renders: int,
    memory_renders: int,
    memory: Callable[[], dict[str, float]] | None,
) -> list[Measure]:
    """``memory`` returns the processes of a server and their resident MiB, if they are on this machine.

    Raises as `together`.
    """
    together(target, voice, 1, 3, verify=False)
    found: list[Measure] = []
    for what, texts in (("any text", SENTENCES), ("short clause first", SHORT_CLAUSE_FIRST)):
        heard = together(target, voice, 1, renders, verify=False, texts=texts)
        found += _latencies(f"unverified, {what}", heard)
    for streams in (2, 8):
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


def _latencies(what: str, heard: list[RenderTiming]) -> list[Measure]:
    audible = [one.audible_secs * 1000 for one in heard]
    return [
        Measure(f"first audible byte, {what}, p50", percentile(audible, 0.5), "ms"),
        Measure(f"first audible byte, {what}, p99", percentile(audible, 0.99), "ms"),
        Measure(
            f"seconds of sound a second of waiting, {what}",
            sum(one.audio_secs for one in heard) / sum(one.wall_secs for one in heard),
            "x",
        ),
        Measure(f"longest wait of a player, {what}", max(one.starved_secs for one in heard) * 1000, "ms"),
    ]


def _pace(target: Target, voice: str) -> list[Measure]:
    """Times real time of a text of some minutes."""
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

    from serve.supervisor.instance import MARKER
    from serve.supervisor.marked_processes import marked

    def read() -> dict[str, float]:
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

    return read
