"""Archives: overhead of a file, work lost at a kill, delay of other requests, memory.

The flow runs in a child process, as `fluxions archive run` starts it, with its Dask workers on this machine.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.fixtures import complete, speech, wav
from benchmarks.measure import Measure, Note, percentile
from benchmarks.platform.tts import together
from clients.archives import BASE
from clients.public import Client, Target
from flows.archives.launcher import ArchiveProcess
from flows.archives.protocol import ArchiveRequest
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import FluxionsError
from schemas.settings import Settings

STUB = "benchmarks.platform.archive_stub"
CALLS = "FLUXIONS_BENCH_CALLS"
_TINY_SECS: Seconds = 1.0
_FILE_SECS: Seconds = 30.0
_SHORT_SECS: Seconds = 10.0
_FILES_A_ROUND, _RENDERS_A_ROUND = 10, 10
_LOOK_SECS: Seconds = 0.2
_WARM_UP_SHARE = 0.1
_NOISE_SIGMA = 2e-3 * 32_768
"""-54 dBFS, a quiet room."""
_TALK_SECS, _EVERY_SECS = 10, 600
_MINUTE = 60 * SAMPLE_RATE_HZ
_BASE_SECS: Seconds = 600.0
_MIB = 2**20
_FORKSERVER = "multiprocessing.forkserver"


@dataclass(frozen=True)
class Bench:
    """A running server with its operator's client, and a folder for the benchmark's recordings."""

    user: Target
    operator: Target
    settings: Settings
    prefect_api: str
    folder: Path
    note: Note

    def source(self, name: str) -> Path:
        """An empty folder; its name makes the run, and the account it is for, new ones."""
        folder = self.folder / f"{name}-{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def run(self, source: Path, **environment: str) -> Iterator[Run]:
        """A running archive over ``source``; ended at the end of the block."""
        request = ArchiveRequest(source=str(source), account=source.name)
        with _changed(os.environ, environment):
            process = ArchiveProcess("run", request, self.operator, self.settings.home, self.prefect_api)
        with process, Client(self.operator, patience_secs=30.0) as client:
            events = process.events()
            yield Run(process, events, int(next(events)["archive"]), client)


@dataclass(frozen=True)
class Run:
    process: ArchiveProcess
    events: Iterator[dict[str, Any]]
    archive_id: int
    client: Client

    def finish(self) -> None:
        """Wait for its end. Raises the error it ended with, and FluxionsError if a file was not done."""
        for _ in self.events:
            pass
        counts = self.counts()
        if counts["completed"] != sum(counts[state] for state in ("completed", "failed", "skipped")):
            raise FluxionsError(f"archive {self.archive_id}: not every file was done: {counts}", code="bench_failed")

    def counts(self) -> dict[str, Any]:
        return dict(self.client.get(f"{BASE}/{self.archive_id}")["counts"])

    def wait_for(self, reached: Callable[[dict[str, Any]], bool]) -> None:
        while not reached(self.counts()):
            if self.process.ended():
                raise FluxionsError(f"archive {self.archive_id} ended early", code="bench_failed")
            time.sleep(_LOOK_SECS)

    def settled_at(self) -> list[dt.datetime]:
        """The times at which files were finished, in order."""
        found: list[dt.datetime] = []
        page: dict[str, Any] = {"next_after": None}
        while not found or page["next_after"] is not None:
            after = {} if page["next_after"] is None else {"after": page["next_after"]}
            page = self.client.get(f"{BASE}/{self.archive_id}/files", limit=1000, **after)
            found += [dt.datetime.fromisoformat(file["updated_at"]) for file in page["files"]]
        return sorted(found)

    def kill(self) -> None:
        """kill -9 of the flow; returns when its Dask workers have ended too."""
        parent = psutil.Process(self.process.pid)
        family = [parent, *parent.children(recursive=True)]
        parent.kill()
        psutil.wait_procs(family)


def cost(bench: Bench, files: int) -> list[Measure]:
    """Time per file with a stub for the engines, with and without the run's start and end."""
    source, calls = bench.source("cost"), bench.folder / "cost-calls"
    tiny(source, files)
    began = time.perf_counter()
    with bench.run(source, **_stubbed(calls)) as run:
        run.finish()
        took_secs, settled = time.perf_counter() - began, run.settled_at()
    first = round(_WARM_UP_SHARE * files)
    steady_secs = (settled[-1] - settled[first]).total_seconds()
    return [
        Measure(f"a file of {files}, whole run, STUB engines", took_secs / files * 1000, "ms"),
        Measure(
            f"a file after the first {_WARM_UP_SHARE:.0%}, STUB engines", steady_secs / (files - 1 - first) * 1000, "ms"
        ),
    ]


def resume(bench: Bench, files: int) -> list[Measure]:
    """Work that is repeated after kill -9 of the flow, counted by a stub for the engines."""
    source, calls = bench.source("resume"), bench.folder / "resume-calls"
    tiny(source, files)
    with bench.run(source, **_stubbed(calls)) as run:
        run.wait_for(lambda counts: bool(counts["completed"] >= files // 2))
        run.kill()
        finished, before = run.counts()["completed"], calls.stat().st_size
    with bench.run(source, **_stubbed(calls)) as run:
        run.finish()
    after = calls.stat().st_size - before
    return [
        Measure("files finished when the flow was killed -9", finished, ""),
        Measure("finished files worked on again", after - (files - finished), ""),
        Measure("files in hand at the kill, worked on twice", before - finished, ""),
        Measure("work done again, share of what was finished", (before + after - files) / finished * 100, "%"),
    ]


def beside(bench: Bench, rounds: int, voice: str) -> list[Measure]:
    """Delay of other requests while an archive runs: ``rounds`` short files, and ten times as many renders."""
    source = bench.source("beside")
    base, random = speech(_FILE_SECS, seed=5), np.random.default_rng(5)
    for number in range(_FILES_A_ROUND * rounds):
        noisy = base + random.normal(0.0, _NOISE_SIGMA, len(base))
        (source / f"{number:04}.wav").write_bytes(wav(np.clip(np.rint(noisy), -32_768, 32_767).astype(np.int16)))
    _interactive(bench, 1, seed=100)  # The first file warms up the replicas.
    with Client(bench.user, patience_secs=30.0) as client:
        alone_secs, _ = complete(client, wav(base), cache=False)
    together(bench.user, voice, 1, 3, verify=False)
    idle, idle_tts = _interactive(bench, rounds, seed=200), _first_bytes(bench, voice, _RENDERS_A_ROUND * rounds)
    bench.note("the same with an archive …")
    with bench.run(source) as run:
        run.wait_for(lambda counts: bool(counts["processing"] >= 2))
        busy, busy_tts = _interactive(bench, rounds, seed=300), _first_bytes(bench, voice, _RENDERS_A_ROUND * rounds)
        counts = run.counts()
        run.client.post(f"{BASE}/{run.archive_id}/cancel", {})
        for _ in run.events:
            pass
    if not counts["waiting"] + counts["processing"]:
        raise FluxionsError("the archive was done before the measures were; give it more files", code="bench_failed")
    idle_ms, busy_ms = percentile(idle, 0.5), percentile(busy, 0.5)
    idle_p95, busy_p95 = percentile(idle_tts, 0.95), percentile(busy_tts, 0.95)
    return [
        Measure(f"{_SHORT_SECS:g} s file, idle, p50", idle_ms, "ms"),
        Measure(f"{_SHORT_SECS:g} s file, archive running, p50", busy_ms, "ms"),
        Measure("added by the archive, p50", busy_ms - idle_ms, "ms"),
        Measure(f"a file of the archive ({_FILE_SECS:g} s), idle", alone_secs * 1000, "ms"),
        Measure("speech, first byte, idle, p95", idle_p95, "ms"),
        Measure("speech, first byte, archive running, p95", busy_p95, "ms"),
        Measure("speech, first byte, archive against idle, p95", busy_p95 / idle_p95, "x"),
    ]


def memory(bench: Bench, hours: float) -> list[Measure]:
    """Peak memory of a fresh Dask worker on a long sparse recording, and on ten minutes of the same kind."""
    short, long = (_peaks(bench, secs) for secs in (_BASE_SECS, hours * 3600))
    return [
        Measure("peak memory of a worker, 10 min of audio", short.worker / _MIB, "MiB"),
        Measure(f"peak memory of a worker, {hours:g} h of audio", long.worker / _MIB, "MiB"),
        Measure("more for the long one", (long.worker - short.worker) / _MIB, "MiB"),
        Measure("the same, with its largest child process", (long.whole - short.whole) / _MIB, "MiB"),
        Measure(f"time for {hours:g} h", long.took_secs, "s"),
    ]


@dataclass(frozen=True)
class _Peaks:
    worker: int
    child: int
    """Peak of the largest process that a worker starts, such as a decoder."""
    took_secs: Seconds

    @property
    def whole(self) -> int:
        return self.worker + self.child


def _peaks(bench: Bench, duration_secs: Seconds) -> _Peaks:
    source = bench.source("memory")
    sparse(source / "long.wav", duration_secs)
    bench.note(f"{duration_secs / 3600:.2f} h of sparse speech …")
    began = time.perf_counter()
    with bench.run(source, FLUXIONS_ARCHIVE_WORKERS="1") as run, _watched(run.process.pid) as seen:
        run.finish()
    took_secs = time.perf_counter() - began
    (source / "long.wav").unlink()
    return _Peaks(max(seen["worker"].values()), max(seen["child"].values(), default=0), took_secs)


@contextlib.contextmanager
def _watched(flow: int) -> Iterator[dict[str, dict[int, int]]]:
    """Largest resident memory of each Dask worker below the process ``flow``, and of what these start, in bytes."""
    seen: dict[str, dict[int, int]] = {"worker": {}, "child": {}}
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_LOOK_SECS):
            with contextlib.suppress(psutil.NoSuchProcess):
                for worker in _dask_workers(flow):
                    _peak(worker, seen["worker"])
                    for child in worker.children(recursive=True):
                        _peak(child, seen["child"])

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _dask_workers(flow: int) -> list[psutil.Process]:
    """The Dask workers, which are forked from a child of the flow."""
    children = psutil.Process(flow).children()
    return [worker for child in children if _FORKSERVER in " ".join(child.cmdline()) for worker in child.children()]


def _peak(process: psutil.Process, seen: dict[int, int]) -> None:
    """The kernel's high-water mark, so only the last moments of a process between two polls are missed."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        seen[process.pid] = 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _interactive(bench: Bench, rounds: int, seed: int) -> list[float]:
    """Milliseconds from submit to result of short recordings, one after another; all different."""
    with Client(bench.user, patience_secs=30.0) as client:
        recordings = [wav(speech(_SHORT_SECS, seed=seed + number)) for number in range(rounds)]
        return [complete(client, recording, cache=False)[0] * 1000 for recording in recordings]


def _first_bytes(bench: Bench, voice: str, renders: int) -> list[float]:
    return [heard.first_byte_secs * 1000 for heard in together(bench.user, voice, 1, renders, verify=False)]


def tiny(folder: Path, files: int) -> None:
    """Files of one second of speech, each with different faint noise."""
    base, random = speech(_TINY_SECS, seed=4).astype(np.int32), np.random.default_rng(4)
    for number in range(files):
        noisy = np.clip(base + random.integers(-2, 3, len(base)), -32_768, 32_767).astype(np.int16)
        (folder / f"{number:06}.wav").write_bytes(wav(noisy))


def sparse(path: Path, duration_secs: Seconds) -> None:
    """Ten seconds of speech every ten minutes, with room noise; written minute by minute."""
    talk, random = speech(float(_TALK_SECS), seed=6), np.random.default_rng(6)
    left = round(duration_secs * SAMPLE_RATE_HZ)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        for minute in range(-(-left // _MINUTE)):
            samples = random.normal(0.0, _NOISE_SIGMA, min(_MINUTE, left - minute * _MINUTE))
            if minute * 60 % _EVERY_SECS == 0:
                samples[: len(talk)] += talk[: len(samples)]
            file.writeframes(np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes())


def _stubbed(calls: Path) -> dict[str, str]:
    calls.touch()
    return {"DASK_DISTRIBUTED__WORKER__PRELOAD": f'["{STUB}"]', CALLS: str(calls)}


@contextlib.contextmanager
def _changed(environment: os._Environ[str], changes: dict[str, str]) -> Iterator[None]:
    before = dict(environment)
    environment.update(changes)
    try:
        yield
    finally:
        environment.clear()
        environment.update(before)


PARTS = ("cost", "resume", "beside", "memory")
"""Parts that can be measured alone."""


def measure(bench: Bench, parts: Sequence[str], *, files: int, hours: float, rounds: int, voice: str) -> list[Measure]:
    """Measure ``parts``. Raises FluxionsError where a run ends in an unexpected way."""
    found: list[Measure] = []
    if "cost" in parts:
        found += cost(bench, files)
    if "resume" in parts:
        found += resume(bench, files)
    if "beside" in parts:
        found += beside(bench, rounds, voice)
    if "memory" in parts:
        found += memory(bench, hours)
    return found
