"""Objects that were unused and become needed are neither removed nor lost without a word."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.progress import Watched
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas import wire
from schemas.archives import Archive, FileEnd, FileOutcome, Lease
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import Conflict, NotFound, Unavailable
from serve.services.archive_results import ArchiveResults
from serve.services.job_results import JobResults
from tests.support.archive_kit import RUN, Worker, source
from tests.support.lakehouse_kit import REVISION, home, new_job, read_job, transcript

pytestmark = pytest.mark.unit

SHA256 = hashlib.sha256(b"bytes").hexdigest()
KEY = f"audio/ada/{SHA256}"


async def store(objects: Objects) -> None:
    await objects.put_many({KEY: b"bytes"})


async def test_a_recording_whose_job_is_being_committed_is_no_orphan(tmp_path: Path) -> None:
    objects = Objects(Location(str(tmp_path), fsync=False))
    guard = ObjectGuard(objects, LiveJobs(), lambda: None)
    await store(objects)
    with guard.finding_orphans():
        # The tables were read, and no row names the old object; now the same bytes are sent again.
        async with guard.admitting(KEY):
            assert not await guard.remove_orphan(KEY)
        assert await objects.exists(KEY)
        assert await guard.remove_orphan(KEY)
    with pytest.raises(Unavailable, match="send it again"):
        async with guard.admitting(KEY):
            pass


class Overtaken:
    """The ledger's jobs, for a worker that stalls before it completes: another worker is quicker meanwhile."""

    def __init__(self, ledger: Ledger, results: JobResults, lease: str) -> None:
        self._ledger, self._results, self._stalled = ledger, results, lease

    async def leased(self, job_id: int, lease: str) -> Job:
        return await self._ledger.jobs.leased(job_id, lease)

    async def watch(self, *args: Any) -> Watched:
        return await self._ledger.jobs.watch(*args)

    async def complete(self, job_id: int, lease: str, outcome: Outcome, found: Transcript | None = None) -> Job:
        await self._ledger.jobs.release(job_id, self._stalled)
        claim = await self._ledger.jobs.claim("quick", 10)
        assert claim is not None
        await self._results.complete(job_id, claim.lease, transcript("Good evening."))
        return await self._ledger.jobs.complete(job_id, lease, outcome, found)


async def test_a_stalled_worker_does_not_remove_the_result_of_the_next(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        objects = Objects(Location(str(tmp_path), fsync=False))
        await store(objects)
        results = JobResults(ledger.jobs, objects, 10**6)
        await ledger.jobs.create(new_job(audio_key=KEY))
        claim = await ledger.jobs.claim("slow", 10)
        assert claim is not None
        stalled = JobResults(Overtaken(ledger, results, claim.lease), objects, 10**6)  # type: ignore[arg-type]
        with pytest.raises(Conflict) as caught:
            await asyncio.wait_for(stalled.complete(claim.job.id, claim.lease, transcript()), 20)
        assert caught.value.code == "lease_lost"
        done = await read_job(ledger, "ada", claim.job.id)
        assert done is not None
        assert done.result_key is not None
        assert await objects.exists(done.result_key)
    finally:
        await ledger.close()


async def ended(ledger: Ledger, job_id: int, how: str) -> None:
    """The client cancels or deletes the job."""
    await (ledger.jobs.cancel if how == "cancelled" else ledger.jobs.delete)("ada", job_id)


async def results_of(objects: Objects) -> list[str]:
    return [key async for key, _ in objects.list("results")]


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_a_job_that_ends_while_its_result_is_written_leaves_no_transcript(tmp_path: Path, how: str) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        objects = Objects(Location(str(tmp_path), fsync=False))
        await store(objects)
        await ledger.jobs.create(new_job(audio_key=KEY))
        claim = await ledger.jobs.claim("slow", 10)
        assert claim is not None

        class EndsFirst(Overtaken):
            async def complete(self, job_id: int, lease: str, outcome: Outcome, found: Transcript | None = None) -> Job:
                assert await results_of(objects)
                await ended(ledger, job_id, how)
                return await ledger.jobs.complete(job_id, lease, outcome, found)

        jobs: Any = EndsFirst(ledger, JobResults(ledger.jobs, objects, 10**6), claim.lease)
        with pytest.raises((Conflict, NotFound)):
            await asyncio.wait_for(JobResults(jobs, objects, 10**6).complete(claim.job.id, claim.lease, transcript()), 20)
        assert await results_of(objects) == []
    finally:
        await ledger.close()


class OvertakenArchive:
    """The ledger's archives, for a worker that stalls before its batch is recorded: another is quicker meanwhile."""

    def __init__(self, ledger: Ledger, quick: Worker, results: ArchiveResults, lease: Lease) -> None:
        self._ledger, self._quick, self._results, self._stalled = ledger, quick, results, lease

    async def leased_files(self, *args: Any) -> list[Job | FileOutcome]:
        return await self._ledger.archives.leased_files(*args)

    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        await self._ledger.archives.release_files(archive_id, {self._stalled.job_id: self._stalled.lease})
        (begun,) = await self._quick.begin(source("a"))
        assert begun.lease is not None
        (done,) = await self._results.finish(archive_id, batch(begun.lease))
        assert done.error is None
        return await self._ledger.archives.finish_files(archive_id, ended)


def batch(*leases: Lease) -> bytes:
    """The body that ends these files."""
    items = [{"job_id": one.job_id, "lease": one.lease, "transcript": transcript().to_json()} for one in leases]
    return wire.pack({"files": items})


@asynccontextmanager
async def archive(folder: Path) -> AsyncIterator[tuple[Ledger, Objects, Archive, Lease]]:
    """A file of an archive under a lease."""
    ledger = await Ledger.open(home(folder))
    try:
        objects = Objects(Location(str(folder), fsync=False))
        opened = await ledger.archives.open(RUN, REVISION)
        (begun,) = await Worker(ledger, objects, opened, "slow").begin(source("a"))
        assert begun.lease is not None
        yield ledger, objects, opened, begun.lease
    finally:
        await ledger.close()


async def has_result(ledger: Ledger, objects: Objects, job_id: int) -> bool:
    done = await read_job(ledger, "ada", job_id)
    assert done is not None
    assert done.result_key is not None
    return await objects.exists(done.result_key)


async def test_a_stalled_batch_does_not_remove_the_results_of_the_next(tmp_path: Path) -> None:
    async with archive(tmp_path) as (ledger, objects, opened, lease):
        results = ArchiveResults(objects, ledger.archives, ledger.jobs)
        overtaken: Any = OvertakenArchive(ledger, Worker(ledger, objects, opened, "quick"), results, lease)
        stalled = ArchiveResults(objects, overtaken, ledger.jobs)
        (refused,) = await asyncio.wait_for(stalled.finish(opened.id, batch(lease)), 20)
        assert refused.error == "lease_lost"
        assert await has_result(ledger, objects, lease.job_id)


async def test_a_file_that_a_batch_ends_twice_keeps_its_result(tmp_path: Path) -> None:
    async with archive(tmp_path) as (ledger, objects, opened, lease):
        results = ArchiveResults(objects, ledger.archives, ledger.jobs)
        done, refused = await results.finish(opened.id, batch(lease, lease))
        assert (done.error, refused.error) == (None, "named_twice")
        assert await has_result(ledger, objects, lease.job_id)


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_a_file_that_ends_while_its_batch_is_written_leaves_no_transcript(tmp_path: Path, how: str) -> None:
    async with archive(tmp_path) as (ledger, objects, opened, lease):

        class EndsFirst(OvertakenArchive):
            async def finish_files(self, archive_id: int, given: Sequence[FileEnd]) -> list[FileOutcome]:
                assert await results_of(objects)
                await ended(ledger, lease.job_id, how)
                return await ledger.archives.finish_files(archive_id, given)

        results = ArchiveResults(objects, ledger.archives, ledger.jobs)
        archives: Any = EndsFirst(ledger, Worker(ledger, objects, opened), results, lease)
        (refused,) = await ArchiveResults(objects, archives, ledger.jobs).finish(opened.id, batch(lease))
        assert refused.error is not None
        assert await results_of(objects) == []
