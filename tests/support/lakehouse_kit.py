"""Helpers of lakehouse tests: settings of a temporary home, jobs, and a manual clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.tables import delta_log
from lakehouse.tables.delta_writer import DeltaWriter
from lakehouse.tables.row_mapping import job_from_row
from schemas.domain import Job, JobOptions, NewJob, Outcome, Segment, Transcript, Word
from schemas.settings import JobSettings, ServerSettings, Settings, StorageSettings
from schemas.tables import TABLES

REVISION = "engines-1"


def home(
    folder: Path, *, fsync: bool = False, storage_url: str = "", checkpoint_interval: int = 20, **jobs: Any
) -> Settings:
    return Settings(
        server=ServerSettings(home=folder),
        storage=StorageSettings(fsync=fsync, storage_url=storage_url, checkpoint_interval=checkpoint_interval),
        jobs=JobSettings(**jobs),
    )


def new_job(content: str = "bytes", *, account: str = "ada", **changes: Any) -> NewJob:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    values: dict[str, Any] = {
        "account": account,
        "filename": f"{content}.wav",
        "content_type": "audio/wav",
        "sha256": sha256,
        "size_bytes": len(content),
        "audio_key": f"audio/{account}/{sha256}",
        "options": JobOptions(),
        "use_cache": True,
        "engine_revision": REVISION,
    }
    return NewJob(**{**values, **changes})


def transcript(text: str = "Good morning, dentists.") -> Transcript:
    words = (Word(text.split()[0], 0.5, 0.9, 0.8), Word(text.split()[-1], 1.0, 1.5))
    segments = (Segment(0, 0, text, 0.5, 1.5, words), Segment(1, 0, "Morning.", 1.6, 2.0, (Word("Morning.", 1.6, 2.0),)))
    return Transcript(f"SPEAKER_0: {text}", segments, (), "en", 2, 2, 2.25, 0.5, REVISION)


def outcome(job: Job, **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "engine_revision": REVISION,
        "result_key": f"results/{job.id}.json",
        "playback_key": f"playback/{job.id}.ogg",
        "audio_duration_secs": 300.0,
        "audio_format": "opus",
        "processing_secs": 4.0,
        "language": "en",
        "num_chunks": 2,
        "num_segments": 2,
        "num_speakers": 2,
    }
    return Outcome(**{**values, **changes})


async def read_job(ledger: Ledger, account: str, job_id: int) -> Job | None:
    """The job as a new reader sees it."""
    row = await _reader(ledger).get("transcriptions", account, job_id)
    return None if row is None else job_from_row(row)


async def read_jobs(ledger: Ledger, account: str, limit: int, offset: int) -> tuple[int, list[Job]]:
    """(total, page), newest first, as a new reader sees them."""
    found = await _reader(ledger).slice("transcriptions", account, offset, limit)
    return found.total, [job_from_row(row) for row in found.rows]


def _reader(ledger: Ledger) -> History:
    root = ledger._writers["transcriptions"].uri.removesuffix("/tables/transcriptions")
    return History(Location(root, fsync=False), ledger.records)


async def until_projected(ledger: Ledger) -> None:
    """Wait until every finished job is in its tables."""
    async with asyncio.timeout(60):
        while (await ledger.maintenance.stats()).unprojected:  # noqa: ASYNC110 - the projector signals nobody
            await asyncio.sleep(0.02)


def stores_with(settings: Settings, word: str) -> Iterator[str]:
    """Every file of the storage whose bytes or, for Parquet, whose values hold ``word``, relative to its root."""
    root = Path(settings.storage_url)
    for path in files_with(root, word.encode()):
        yield str(path.relative_to(root))


def files_with(folder: Path, marker: bytes) -> Iterator[Path]:
    """Every file under ``folder`` whose bytes hold ``marker``, or, for Parquet, whose values hold it as text."""
    word = marker.decode(errors="ignore")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            values = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" and word else ""
            if (word and word in values) or marker in path.read_bytes():
                yield path


def vacuum(settings: Settings) -> None:
    """Remove what only older versions of the tables name, at once."""
    for table in TABLES:
        handle = DeltaTable(f"{settings.storage_url}/tables/{table.name}")
        handle.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


@contextmanager
def commits_of_unknown_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While this is open, tables take every commit and fail all the same, and cannot be read to find that out."""
    append, read = delta_log.append, DeltaWriter._catch_up
    is_away = [True]

    def written_but_an_error(*args: Any, **kwargs: Any) -> None:
        append(*args, **kwargs)
        if is_away:
            raise OSError("the store wrote it, and its answer was lost")

    def unreadable(self: DeltaWriter) -> None:
        if is_away:
            raise OSError("the store is away")
        read(self)

    monkeypatch.setattr(delta_log, "append", written_but_an_error)
    monkeypatch.setattr(DeltaWriter, "_catch_up", unreadable)
    try:
        yield
    finally:
        is_away.clear()


class ManualClock:
    """Stands still until ``advance``; sleepers wake when their time has come."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._today = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now

    def utc(self) -> dt.datetime:
        return self._today

    async def sleep(self, secs: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + secs, woken))
        await woken

    def turn_back(self, secs: float) -> None:
        """Set the time of day back; leases must not notice."""
        self._today -= dt.timedelta(seconds=secs)

    def advance(self, secs: float) -> None:
        self._now += secs
        self._today += dt.timedelta(seconds=secs)
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
