"""Random walks through all that may happen to a run: a file stays one transcription, and the counts are true."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from lakehouse.archives.reader import ArchiveReader
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas.archives import ArchiveFile, ArchiveStatus, BeginState, Begun, FileEnd, FileFailure, FileStatus
from schemas.domain import JobStatus
from schemas.settings import Settings
from tests.support.archive_kit import RUN, Worker, source
from tests.support.lakehouse_kit import REVISION, ManualClock, home, read_jobs

pytestmark = pytest.mark.integration

STEPS = 60
FILES = [source(f"f{n}") for n in range(8)]
FINAL = {
    FileStatus.WAITING: {JobStatus.SUBMITTED, JobStatus.FAILED, JobStatus.CANCELLED},
    FileStatus.PROCESSING: {JobStatus.PROCESSING, JobStatus.FAILED, JobStatus.CANCELLED},
    FileStatus.COMPLETED: {JobStatus.COMPLETED},
    FileStatus.FAILED: {JobStatus.FAILED, JobStatus.CANCELLED},
    FileStatus.SKIPPED: {JobStatus.CANCELLED, JobStatus.FAILED},
}
"""What history may show of a file: one that is tried again stays what it was until it is completed."""


class Walk:
    """One ledger, two workers, and what was leased and not ended."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.held: list[tuple[Worker, Begun]] = []
        self.completed: dict[str, int] = {}
        self.ledger: Ledger
        self.workers: list[Worker] = []

    async def open(self) -> None:
        self.ledger = await Ledger.open(self.settings, clock=self.clock)
        archive = await self.ledger.archives.open(RUN, REVISION)
        self.workers = [Worker(self.ledger, Objects.of(self.settings), archive, name) for name in ("one", "two")]

    async def step(self) -> None:
        await self.chance.choice(
            (self.begin, self.begin, self.end, self.end, self.release, self.expire, self.meddle, self.stop)
        )()

    async def begin(self) -> None:
        worker, files = self.chance.choice(self.workers), self.chance.sample(FILES, 3)
        for file, begun in zip(files, await worker.begin(*files, retry_failed=self.chance.random() < 0.5), strict=True):
            if begun.state is BeginState.LEASED:
                self.held.append((worker, begun))
            if begun.file is not None and begun.file.status is FileStatus.COMPLETED:
                assert self.completed[file.key] == begun.file.transcription_id

    async def end(self) -> None:
        worker, begun = self.take()
        if begun is None or begun.lease is None:
            return
        job_id, lease = begun.lease.job_id, begun.lease.lease
        (held,) = await self.ledger.archives.leased_files(worker.archive.id, [(job_id, lease)])
        failure = FileFailure("odd", "It failed.", retryable=self.chance.random() < 0.5)
        good = self.chance.random() < 0.6 and not hasattr(held, "error")
        end = await worker.end(begun, "some words") if good else FileEnd(job_id, lease, failure)
        (outcome,) = await self.ledger.archives.finish_files(worker.archive.id, [end])
        if outcome.status is FileStatus.COMPLETED and good:
            (file,) = [f for f in await self.known() if f.transcription_id == job_id]
            assert self.completed.setdefault(file.key, job_id) == job_id

    async def release(self) -> None:
        worker, begun = self.take()
        if begun is not None and begun.lease is not None:
            await self.ledger.archives.release_files(worker.archive.id, {begun.lease.job_id: begun.lease.lease})

    async def expire(self) -> None:
        self.clock.advance(16)
        await self.ledger.lease_expiry.expire()

    async def meddle(self) -> None:
        """A client cancels or deletes one of its transcriptions."""
        jobs = (await read_jobs(self.ledger, "ada", 100, 0))[1]
        if not jobs:
            return
        job = self.chance.choice(jobs)
        if not job.status.is_final:
            await self.ledger.jobs.cancel("ada", job.id)
        elif self.chance.random() < 0.3:
            await self.ledger.jobs.delete("ada", job.id)
            self.completed = {key: job_id for key, job_id in self.completed.items() if job_id != job.id}

    async def stop(self) -> None:
        """The run is cancelled, or the ledger ends; both begin again."""
        if self.chance.random() < 0.3:
            await self.ledger.archives.cancel(self.workers[0].archive.id)
        await self.ledger.close()
        await self.open()

    def take(self) -> tuple[Worker, Begun | None]:
        if not self.held:
            return self.workers[0], None
        worker, begun = self.held.pop(self.chance.randrange(len(self.held)))
        return next(w for w in self.workers if w.name == worker.name), begun

    async def known(self) -> list[ArchiveFile]:
        return await self.ledger.archives.known_files(self.workers[0].archive.id, [file.key for file in FILES])

    async def check(self) -> None:
        known = await self.known()
        counts = (await self.ledger.archives.find(self.workers[0].archive.id)).counts
        assert Counter(file.status for file in known) == {s: n for s in FileStatus if (n := getattr(counts, s.value))}
        jobs = {job.id: job for job in (await read_jobs(self.ledger, "ada", 100, 0))[1]}
        made = {file.transcription_id: file for file in known if file.transcription_id is not None}
        assert set(made) == set(jobs)
        for job_id, job in jobs.items():
            assert job.status in FINAL[made[job_id].status], (job, made[job_id])
        assert {file.key: file.transcription_id for file in known if file.status is FileStatus.COMPLETED} == self.completed


@pytest.mark.parametrize("seed", range(3))
async def test_a_file_is_one_transcription_and_the_counts_are_true(tmp_path: Path, seed: int) -> None:
    walk = Walk(home(tmp_path, max_attempts=2), seed)
    await walk.open()
    try:
        for _ in range(STEPS):
            await walk.step()
            await walk.check()
        known = {file.key: file.status for file in await walk.known()}
        await walk.ledger.archives.end(walk.workers[0].archive.id, ArchiveStatus.FAILED, "enough")
        stored = ArchiveReader(Location.of(walk.settings)).files(walk.workers[0].archive.id, limit=100)
        settled = {file.key: file.status for file in stored}
        assert settled == {key: s if s.is_settled else FileStatus.SKIPPED for key, s in known.items()}
    finally:
        await walk.ledger.close()
