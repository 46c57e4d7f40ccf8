"""Archive runs in the ledger: every file once, whatever stops in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest

from lakehouse.archives.reader import ArchiveReader
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas.archives import (
    Archive,
    ArchiveFile,
    ArchiveStatus,
    BeginState,
    FileEnd,
    FileFailure,
    FileStatus,
    NotedFile,
)
from schemas.domain import JobStatus
from schemas.errors import Conflict, NotFound, Unavailable
from schemas.settings import Settings
from tests.support.archive_kit import RUN, Worker, source
from tests.support.lakehouse_kit import REVISION, ManualClock, home, new_job, read_job, read_jobs, until_projected

pytestmark = pytest.mark.integration

LEASED, DONE, HELD, NEEDS_BYTES = BeginState.LEASED, BeginState.DONE, BeginState.HELD, BeginState.NEEDS_BYTES


@asynccontextmanager
async def opened(
    settings: Settings, clock: ManualClock | None = None, policy: MergePolicy | None = None
) -> AsyncIterator[tuple[Ledger, Worker]]:
    """A ledger with the run `RUN` opened on it."""
    ledger = await Ledger.open(settings, clock=clock, merge_policy=policy)
    try:
        archive = await ledger.archives.open(RUN, REVISION)
        yield ledger, Worker(ledger, Objects.of(settings), archive)
    finally:
        await ledger.close()


def stored_files(settings: Settings, archive: Archive) -> dict[str, ArchiveFile]:
    """Files of a run as the tables have them, by name."""
    found = ArchiveReader(Location.of(settings)).files(archive.id, limit=1000)
    return {file.key.removeprefix("/recordings/").removesuffix(".wav"): file for file in found}


async def test_a_file_becomes_one_ordinary_job_that_no_other_worker_claims(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as (ledger, worker):
        (asked,) = await worker.begin(source("a"), stored=False)
        assert asked.state is NEEDS_BYTES
        assert (await read_jobs(ledger, "ada", 10, 0))[0] == 0
        (begun,) = await worker.begin(source("a"))
        assert begun.lease is not None
        job = await read_job(ledger, "ada", begun.lease.job_id)
        assert job is not None
        assert (job.status, job.archive_id, job.attempt) == (JobStatus.PROCESSING, worker.archive.id, 1)
        assert await ledger.jobs.claim("queue", 0) is None
        (done,) = await ledger.archives.finish_files(worker.archive.id, [await worker.end(begun, "hello there")])
        assert done.status is FileStatus.COMPLETED
        total, jobs = await read_jobs(ledger, "ada", 10, 0)
        assert (total, jobs[0].status, jobs[0].cost_usd) == (1, JobStatus.COMPLETED, 0.000167)
        file = stored_files(settings, worker.archive)["a"]
        assert (file.status, file.transcription_id, file.attempts, file.metadata) == (
            FileStatus.COMPLETED,
            job.id,
            1,
            '{"shelf": "3"}',
        )
        assert (file.audio_secs, file.cached, file.cost_usd) == (2.25, False, 0.000167)


async def test_beginning_and_ending_twice_is_once(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        files = [source("a"), source("b")]
        first = await worker.begin(*files)
        assert await worker.begin(*files) == first
        ends = [
            await worker.end(first[0], "hello"),
            FileEnd(first[1].lease.job_id, first[1].lease.lease, FileFailure("x", "y")),
        ]  # type: ignore[union-attr]
        for _ in range(2):
            outcomes = await ledger.archives.finish_files(worker.archive.id, ends)
            assert [(o.status, o.error) for o in outcomes] == [(FileStatus.COMPLETED, None), (FileStatus.FAILED, None)]
        repeated = await ledger.archives.finish_files(worker.archive.id, [ends[0], ends[0]])
        assert {o.status for o in repeated} == {FileStatus.COMPLETED}
        assert (await read_jobs(ledger, "ada", 10, 0))[0] == 2
        assert [one.state for one in await worker.begin(*files)] == [DONE, DONE]
        counts = (await ledger.archives.find(worker.archive.id)).counts
        assert (counts.completed, counts.failed, counts.total, counts.audio_secs) == (1, 1, 2, 2.25)


async def test_another_worker_waits_for_the_lease_and_then_takes_over(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(home(tmp_path), clock) as (ledger, dead):
        (begun,) = await dead.begin(source("a"))
        heir = Worker(ledger, dead.objects, dead.archive, "heir")
        (held,) = await heir.begin(source("a"))
        assert (held.state, held.retry_after_secs) == (HELD, 15.0)
        assert begun.lease is not None
        clock.advance(10)
        assert await ledger.archives.renew_files(dead.archive.id, {begun.lease.job_id: begun.lease.lease, 77: "none"}) == [
            77
        ]
        clock.advance(16)
        await ledger.lease_expiry.expire()
        assert (await ledger.archives.find(dead.archive.id)).counts.waiting == 1
        assert await ledger.jobs.claim("queue", 0) is None
        (taken,) = await heir.begin(source("a"))
        assert taken.lease is not None
        assert (taken.lease.job_id, taken.lease.attempt) == (begun.lease.job_id, 2)
        late = FileEnd(begun.lease.job_id, begun.lease.lease, FileFailure("late", "too late"))
        (refused,) = await ledger.archives.finish_files(dead.archive.id, [late])
        assert refused.error == "lease_lost"


async def test_a_file_whose_worker_made_no_request_was_not_attempted(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(home(tmp_path, max_attempts=1), clock) as (ledger, worker):
        for _ in range(3):
            (begun,) = await worker.begin(source("a"))
            assert begun.lease is not None
            assert begun.lease.attempt == 1
            clock.advance(16)
            await ledger.lease_expiry.expire()
        assert (await ledger.archives.find(worker.archive.id)).counts.waiting == 1
        (begun,) = await worker.begin(source("a"))
        assert begun.lease is not None
        assert await ledger.archives.renew_files(worker.archive.id, {begun.lease.job_id: begun.lease.lease}) == []
        clock.advance(16)
        await ledger.lease_expiry.expire()
        assert (await ledger.archives.find(worker.archive.id)).counts.failed == 1


async def test_a_failure_that_may_pass_is_tried_as_often_as_any_job(tmp_path: Path) -> None:
    async with opened(home(tmp_path, max_attempts=2)) as (ledger, worker):
        for status in (FileStatus.WAITING, FileStatus.FAILED):
            (begun,) = await worker.begin(source("a"))
            assert begun.lease is not None
            failure = FileFailure("engine_away", "The engine is away.", retryable=True)
            end = FileEnd(begun.lease.job_id, begun.lease.lease, failure)
            assert (await ledger.archives.finish_files(worker.archive.id, [end]))[0].status is status
        (done,) = await worker.begin(source("a"))
        assert done.file is not None
        assert (done.file.reason, done.file.message, done.file.attempts) == ("engine_away", "The engine is away.", 2)
        (again,) = await worker.begin(source("a"), retry_failed=True)
        (outcome,) = await ledger.archives.finish_files(worker.archive.id, [await worker.end(again, "well then")])
        assert outcome.status is FileStatus.COMPLETED
        total, jobs = await read_jobs(ledger, "ada", 10, 0)
        assert (total, jobs[0].status, jobs[0].revision, jobs[0].error_message) == (1, JobStatus.COMPLETED, 1, None)


async def test_a_restarted_ledger_continues_the_run(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as (ledger, worker):
        await worker.transcribe(source("done"), "all done")
        (under_way,) = await worker.begin(source("under way"))
        (left,) = await worker.begin(source("left"))
        assert left.lease is not None
        await ledger.archives.release_files(worker.archive.id, {left.lease.job_id: left.lease.lease})
        failure = FileFailure("not_audio", "This is a picture.")
        await ledger.archives.note_files(worker.archive.id, [NotedFile("/recordings/p.png", "p", "ada", "p.png", failure)])
    async with opened(settings) as (ledger, after):
        assert after.archive.id == worker.archive.id
        counts = (await ledger.archives.find(after.archive.id)).counts
        assert (counts.completed, counts.processing, counts.waiting, counts.failed) == (1, 1, 1, 1)
        assert [one.state for one in await after.begin(source("done"), source("under way"))] == [DONE, LEASED]
        (done,) = await ledger.archives.finish_files(after.archive.id, [await after.end(under_way, "kept its lease")])
        assert done.status is FileStatus.COMPLETED
        with pytest.raises(Conflict, match="1 files waiting"):
            await ledger.archives.end(after.archive.id, ArchiveStatus.COMPLETED, None)
        await after.transcribe(source("left"), "last")
        ended = await ledger.archives.end(after.archive.id, ArchiveStatus.COMPLETED, None)
        assert ended.counts.completed == 3
        assert (await read_jobs(ledger, "ada", 10, 0))[0] == 3
    async with opened(settings) as (ledger, reopened):
        assert reopened.archive.status is ArchiveStatus.RUNNING
        assert [one.state for one in await reopened.begin(source("done"), source("left"))] == [DONE, DONE]
        (known,) = await ledger.archives.known_files(reopened.archive.id, ["/recordings/done.wav", "/recordings/new.wav"])
        assert (known.status, known.version) == (FileStatus.COMPLETED, source("done").version)


@pytest.mark.parametrize("moment", ["begun", "finished"])
async def test_a_job_whose_file_was_not_written_is_found_again(tmp_path: Path, moment: str) -> None:
    """The ledger ends between its two commits."""
    settings = home(tmp_path)
    async with opened(settings) as (ledger, worker):
        begun = None
        if moment == "finished":
            (begun,) = await worker.begin(source("a"))
            end = await worker.end(begun, "said once")
        await ledger._writers["archive_files"].close()
        with pytest.raises(Unavailable):
            await (worker.begin(source("a")) if begun is None else ledger.archives.finish_files(worker.archive.id, [end]))
    async with opened(settings) as (ledger, after):
        (found,) = await after.begin(source("a"))
        if moment == "finished":
            assert found.file is not None
            assert found.file.status is FileStatus.COMPLETED
        else:
            assert found.state is LEASED
            await ledger.archives.finish_files(after.archive.id, [await after.end(found, "said once")])
        assert (await read_jobs(ledger, "ada", 10, 0))[0] == 1
        assert stored_files(settings, after.archive)["a"].status is FileStatus.COMPLETED


async def test_cancelling_a_run_stops_its_jobs_and_opening_it_again_does_what_is_left(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as (ledger, worker):
        await worker.transcribe(source("a"), "first")
        begun = await worker.begin(source("b"), source("c"))
        assert begun[0].lease is not None
        cancelled = await ledger.archives.cancel(worker.archive.id)
        assert (cancelled.status, cancelled.counts.skipped) == (ArchiveStatus.CANCELLED, 2)
        assert await ledger.archives.cancel(worker.archive.id) == cancelled
        with pytest.raises(Conflict) as refusal:
            await worker.begin(source("b"))
        assert refusal.value.code == "archive_ended"
        with pytest.raises(Conflict):
            await ledger.jobs.leased(begun[0].lease.job_id, begun[0].lease.lease)
        statuses = {job.filename: job.status for job in (await read_jobs(ledger, "ada", 10, 0))[1]}
        assert statuses == {"a.wav": JobStatus.COMPLETED, "b.wav": JobStatus.CANCELLED, "c.wav": JobStatus.CANCELLED}
    async with opened(settings) as (ledger, after):
        assert await after.transcribe(source("b"), "second") == begun[0].lease.job_id
        assert (await after.begin(source("a")))[0].state is DONE
        total, jobs = await read_jobs(ledger, "ada", 10, 0)
        assert (total, [job.status for job in jobs if job.filename == "b.wav"]) == (3, [JobStatus.COMPLETED])


async def test_a_client_cancels_and_deletes_single_files(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as (ledger, worker):
        (begun,) = await worker.begin(source("a"))
        assert begun.lease is not None
        await ledger.jobs.cancel("ada", begun.lease.job_id)
        (done,) = await worker.begin(source("a"))
        assert done.file is not None
        assert (done.state, done.file.status, done.file.reason) == (DONE, FileStatus.SKIPPED, "cancelled")
        job_id = await worker.transcribe(source("secret"), "hush")
        await ledger.jobs.delete("ada", job_id)
        await until_projected(ledger)
        rows = pl.read_delta(Location.of(settings).table_uri("archive_files"))
        assert rows.filter(pl.col("transcription_id") == job_id).is_empty(), "an earlier row with the file's name is left"
        for retry in (False, True):
            assert (await worker.begin(source("secret"), retry_failed=retry))[0].state is DONE
    async with opened(settings) as (_, after):
        (gone,) = await after.begin(source("secret"), retry_failed=True)
        assert gone.file is not None
        assert (gone.state, gone.file.reason, gone.file.filename, gone.file.sha256) == (DONE, "deleted", "", None)
        file = stored_files(settings, after.archive)["secret"]
        assert (file.reason, file.location, file.metadata, file.transcription_id) == ("deleted", "", "{}", None)


async def test_an_earlier_result_answers_at_once_and_for_nothing(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        await worker.transcribe(source("a", "same"), "once")
        (cached,) = await worker.begin(source("b", "same"), stored=False)
        assert cached.file is not None
        assert (cached.state, cached.file.cached, cached.file.cost_usd, cached.file.audio_secs) == (DONE, True, 0.0, 2.25)
        (other,) = await worker.begin(source("c", "same", account="bob"))
        assert other.state is LEASED
        asked = [new_job(account=account, sha256=source("a", "same").sha256) for account in ("ada", "bob")]
        assert await ledger.archives.has_cached_result(asked) == [True, False]


async def test_changed_content_is_new_work_and_leaves_no_job_behind(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        (begun,) = await worker.begin(source("a", "first"))
        assert begun.lease is not None
        assert (await worker.begin(source("a", "second")))[0].state is HELD
        await ledger.archives.release_files(worker.archive.id, {begun.lease.job_id: begun.lease.lease})
        job_id = await worker.transcribe(source("a", "second"), "new words")
        jobs = {job.id: job.status for job in (await read_jobs(ledger, "ada", 10, 0))[1]}
        assert jobs == {begun.lease.job_id: JobStatus.CANCELLED, job_id: JobStatus.COMPLETED}
        await ledger.archives.end(worker.archive.id, ArchiveStatus.COMPLETED, None)


async def test_one_bad_end_spoils_no_other(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        first, second = await worker.begin(source("a"), source("b"))
        assert second.lease is not None
        good = await worker.end(first, "fine")
        bad = FileEnd(second.lease.job_id, "another's", FileFailure("x", "y"))
        none = FileEnd(4711, "w", FileFailure("x", "y"))
        outcomes = await ledger.archives.finish_files(worker.archive.id, [bad, good, none])
        assert [(o.status, o.error) for o in outcomes] == [
            (None, "lease_lost"),
            (FileStatus.COMPLETED, None),
            (None, "job_not_found"),
        ]


async def test_a_run_that_failed_says_why_and_leaves_nothing_under_way(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        await worker.begin(source("a"))
        failed = await ledger.archives.end(worker.archive.id, ArchiveStatus.FAILED, "the folder is gone")
        assert (failed.status, failed.message, failed.counts.skipped) == (ArchiveStatus.FAILED, "the folder is gone", 1)
        assert [a.id for a in await ledger.archives.all()] == [worker.archive.id]
        with pytest.raises(NotFound):
            await ledger.archives.find(worker.archive.id + 1)


async def test_merged_tables_tell_the_same(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings, policy=MergePolicy(min_tail_files=2)) as (ledger, worker):
        for name in "abc":
            await worker.transcribe(source(name), "some words")
        before = stored_files(settings, worker.archive)
        report = await ledger.maintenance.run("merge", 60)
        assert report is not None
        assert report.counts["files_merged"] > 0
        assert stored_files(settings, worker.archive) == before
        assert {file.status for file in before.values()} == {FileStatus.COMPLETED}
    async with opened(settings) as (_, after):
        assert [one.state for one in await after.begin(*map(source, "abc"))] == [DONE] * 3


async def test_a_renewal_of_a_file_that_waits_at_its_worker_starts_no_attempt(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(home(tmp_path, max_attempts=1), clock) as (ledger, worker):
        held = [begun.lease for begun in await worker.begin(source("a"), source("b")) if begun.lease is not None]
        leases = {lease.job_id: lease.lease for lease in held}
        for _ in range(3):
            clock.advance(10)
            assert await ledger.archives.renew_files(worker.archive.id, leases, {held[1].job_id}) == []
        clock.advance(16)
        await ledger.lease_expiry.expire()
        counts = (await ledger.archives.find(worker.archive.id)).counts
        assert (counts.failed, counts.waiting) == (1, 1)
