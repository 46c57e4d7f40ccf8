"""`fluxions bench ledger`: acknowledged rows a second and the time of one acknowledgement, in process, flushed to disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measure, percentile
from lakehouse.ledger.ledger import Ledger
from schemas.domain import JobOptions, NewJob
from schemas.settings import ServerSettings, Settings, StorageSettings

_ACCOUNTS = 100


def measure(folder: Path, *, producers: int, seconds: float, maintain: bool) -> list[Measure]:
    """Measures a new ledger in ``folder``; each producer sends its next job when its last one is acknowledged."""
    # The disk of this folder is measured, whatever storage the environment names.
    settings = Settings(server=ServerSettings(home=folder), storage=StorageSettings(storage_url="", fsync=True))
    return asyncio.run(_measure(settings, producers, seconds, maintain=maintain))


async def _measure(settings: Settings, producers: int, seconds: float, *, maintain: bool) -> list[Measure]:
    ledger = await Ledger.open(settings)
    latencies: list[float] = []
    merges = 0
    try:
        first_version = (await ledger.maintenance.stats()).tables["job_events"]
        began = time.perf_counter()
        ends = began + seconds
        keeper = asyncio.create_task(_maintain(ledger)) if maintain else None
        await asyncio.gather(*(_produce(ledger, number, ends, latencies) for number in range(producers)))
        wall = time.perf_counter() - began
        commits = (await ledger.maintenance.stats()).tables["job_events"] - first_version
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        report = await ledger.maintenance.run("merge", 600.0) if maintain else None
        merges = report.counts["files_merged"] if report else 0
    finally:
        await ledger.close()
    return [
        Measure("acknowledged rows", len(latencies) / wall, "/s"),
        Measure("commits", commits / wall, "/s"),
        Measure("acknowledgement p50", percentile(latencies, 0.5) * 1e3, "ms"),
        Measure("acknowledgement p99", percentile(latencies, 0.99) * 1e3, "ms"),
        Measure("acknowledgement, longest", max(latencies) * 1e3, "ms"),
        *([Measure("files left to the last merge", merges, "")] if maintain else []),
    ]


async def _produce(ledger: Ledger, number: int, ends: float, latencies: list[float]) -> None:
    for new in _jobs(number):
        began = time.perf_counter()
        if began >= ends:
            return
        await ledger.jobs.create(new)
        latencies.append(time.perf_counter() - began)


async def _maintain(ledger: Ledger) -> None:
    while True:
        await ledger.maintenance.run("merge", 600.0)
        await asyncio.sleep(1.0)


def _jobs(producer: int) -> Iterator[NewJob]:
    count = 0
    while True:
        count += 1
        account = f"account-{(producer * 31 + count) % _ACCOUNTS}"
        sha256 = hashlib.sha256(f"{producer}/{count}".encode()).hexdigest()
        yield NewJob(
            account=account,
            filename="bench.wav",
            content_type="audio/wav",
            sha256=sha256,
            size_bytes=100_000,
            audio_key=f"audio/{account}/{sha256}",
            options=JobOptions(),
            use_cache=True,
            engine_revision="bench",
        )
