"""Overhead of the platform around its engines: for a short file, a cache hit, a long file; and beside another pipeline."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import numpy as np

from benchmarks.fixtures import POLL_SECS, Pcm, complete, retouched, speech, wav
from benchmarks.measure import Measure, Note, percentile
from benchmarks.platform.engine_processes import BareEngines, FasterWhisperProcess
from benchmarks.platform.engine_work import work_of
from clients.public import TIMEOUT, Client, Target, content
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import FluxionsError
from schemas.settings import Settings

Rival = Literal["faster-whisper"]

_SHORT_SECS = 10.0
_CACHE_HITS = 20
_WAIT_SECS = 50.0
_BUSY_LOAD = 0.7


@dataclass
class _Rounds:
    """Wall times of every round, s; those of the bare processes also from before the first round."""

    around: list[Seconds] = field(default_factory=list)
    waited: list[Seconds] = field(default_factory=list)
    """The same with one request for the result, which waits for it."""
    synchronous: list[Seconds] = field(default_factory=list)
    """Of requests that wait for their transcript: wall time without engine time."""
    served: list[Seconds] = field(default_factory=list)
    bare: list[Seconds] = field(default_factory=list)
    """Of recognisers without the platform."""
    engines: list[Seconds] = field(default_factory=list)
    """Of all engines without the platform, once a round."""
    rival: list[Seconds] = field(default_factory=list)

    def shares(self) -> list[float]:
        """Share of the bare speed, by round. Bare runs before and after each round are averaged, because a machine's speed
        may change."""
        means = [(before + after) / 2 for before, after in zip(self.bare, self.bare[1:], strict=False)]
        return [mean / served for mean, served in zip(means, self.served, strict=True)]


def measure(
    target: Target,
    settings: Settings,
    note: Note,
    *,
    recording: Path | None,
    long_secs: Seconds,
    rounds: int,
    processes: int,
    versus: Rival | None = None,
) -> list[Measure]:
    """Raises FluxionsError when the server refuses or a transcription fails."""
    if (load := os.getloadavg()[0]) > _BUSY_LOAD:
        note(f"this machine is busy (load {load:.1f}); what shares it with the server shows in every number")
    short = speech(_SHORT_SECS, seed=1)
    pcm = _decoded(recording, settings) if recording else speech(long_secs, seed=2)
    work = work_of(pcm, settings)
    note(f"long file: {len(pcm) / SAMPLE_RATE_HZ:.0f} s, {len(work.windows)} windows")
    found = _Rounds()
    with ExitStack() as stack:
        client = stack.enter_context(Client(target, patience_secs=30.0))
        bare = stack.enter_context(BareEngines(settings, processes))
        rival = stack.enter_context(FasterWhisperProcess(settings)) if versus else None
        complete(client, wav(short), cache=False)  # The first file warms up the replicas.
        found.bare.append(bare.recognize(work)[0])
        for number in range(rounds):
            wall_secs, body = complete(client, wav(short), cache=False)
            found.around.append(wall_secs - body["engine_secs"])
            wall_secs, body = complete(client, wav(short), cache=False, wait_secs=_WAIT_SECS)
            found.waited.append(wall_secs - body["engine_secs"])
            found.synchronous.append(_around_a_request(client, wav(retouched(short))))
            # Different bytes each time, so that no cached blocks are used; the difference is inaudible.
            pcm = retouched(pcm)
            found.served.append(complete(client, wav(pcm), cache=False, follow=True)[0])
            work = work_of(pcm, settings)
            found.bare.append(bare.recognize(work)[0])
            found.engines.append(bare.run_all(work)[0])
            if rival is not None:
                found.rival.append(rival.transcribe(pcm)[0])
            note(_round_line(number, found))
        hits = [complete(client, wav(short), cache=True) for _ in range(_CACHE_HITS)]
    if not all(body["cached"] for _, body in hits):
        raise FluxionsError("a second submit of the same bytes was not answered from the cache", code="cache_missed")
    return _measures(found, [secs for secs, _ in hits], len(pcm) / SAMPLE_RATE_HZ, processes)


def _around_a_request(client: Client, recording: bytes) -> Seconds:
    """Wall time of a request to `/v1/audio/transcriptions` without engine time. Raises as the server refuses."""
    target = client.target
    with httpx.Client(base_url=target.url, headers={"Authorization": target.key}, timeout=TIMEOUT) as http:
        http.get("/health")  # opens the connection
        began = time.perf_counter()
        answer = http.post(
            "/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("bench.wav", recording, "audio/wav")}
        )
        wall_secs = time.perf_counter() - began
    content(answer)
    body = client.get(f"/transcriptions/{answer.headers['x-transcription-id']}")
    return wall_secs - float(body["engine_secs"])


def _round_line(number: int, found: _Rounds) -> str:
    line = f"round {number + 1}: server {found.served[-1]:.2f} s, then bare {found.bare[-1]:.2f} s"
    line += f", all engines {found.engines[-1]:.2f} s"
    if found.rival:
        line += f", then faster-whisper {found.rival[-1]:.2f} s ({found.rival[-1] / found.served[-1]:.2f} x)"
    return line


def _measures(found: _Rounds, hits: list[Seconds], duration_secs: Seconds, processes: int) -> list[Measure]:
    measures = [
        Measure(
            f"around a {_SHORT_SECS:g} s file, p50 (wall time without engine time; polled every {POLL_SECS * 1000:g} ms)",
            _p50(found.around) * 1000,
            "ms",
        ),
        Measure(
            f"around a {_SHORT_SECS:g} s file, p50 (the same; one GET with wait_secs instead of polling)",
            _p50(found.waited) * 1000,
            "ms",
        ),
        Measure(
            f"around a {_SHORT_SECS:g} s file sent to /v1/audio/transcriptions, p50 (wall time without engine time)",
            _p50(found.synchronous) * 1000,
            "ms",
        ),
        Measure("cache hit, submit to result, p50", _p50(hits) * 1000, "ms"),
        Measure(f"long file, {processes} bare recogniser processes", duration_secs / _p50(found.bare), "x realtime"),
        Measure("long file, server", duration_secs / _p50(found.served), "x realtime"),
        Measure("share of the speed of bare recognisers kept, p50 of rounds", _p50(found.shares()), ""),
        Measure(f"long file, all engines in {processes} bare processes", duration_secs / _p50(found.engines), "x realtime"),
        Measure(
            "share of the speed of all bare engines kept, p50 of rounds",
            _p50([bare / served for bare, served in zip(found.engines, found.served, strict=True)]),
            "",
        ),
    ]
    if found.rival:
        ratios = [rival / served for rival, served in zip(found.rival, found.served, strict=True)]
        measures += [
            Measure("long file, faster-whisper's own pipeline", duration_secs / _p50(found.rival), "x realtime"),
            Measure("server against faster-whisper, p50 of rounds", _p50(ratios), "x as fast"),
        ]
    return measures


def _decoded(recording: Path, settings: Settings) -> Pcm:
    from audio.decoding.decoder import Decoder

    async def decode(target: Path) -> None:
        async with Decoder(settings.limits) as decoder:
            await decoder.decode(recording, target)

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "recording.pcm")
        asyncio.run(decode(target))
        return np.fromfile(target, dtype="<i2")


def _p50(values: list[float]) -> float:
    return percentile(values, 0.5)
