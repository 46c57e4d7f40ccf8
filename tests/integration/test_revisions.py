"""A transcription made again: its id stays, its newest revision is what everybody sees, until all of it is deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from lakehouse.archives.reader import ArchiveReader
from lakehouse.archives.revision_diff import compare
from lakehouse.history.history import History
from lakehouse.ledger import job_states
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.search import Search
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, audio_key
from lakehouse.storage.result_objects import lease_key, put_result, result_keys
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.row_mapping import event_row, job_row
from schemas.archives import BeginState, FileEnd, FileFailure, FileStatus
from schemas.domain import JobStatus, Outcome
from schemas.errors import Conflict, InvalidParameter, NotFound
from schemas.settings import Settings
from schemas.tables import JOB_EVENTS, TRANSCRIPTIONS
from tests.support.archive_kit import AGAIN, NEWER, RUN, Worker, again, said, source, wav
from tests.support.lakehouse_kit import REVISION, ManualClock, home, new_job, outcome, read_job, read_jobs, until_projected

pytestmark = pytest.mark.integration

OLD, NEW = "the xylophonist is in the garden", "the saxophonist is in the garden"


class Told:
    """A ledger with one transcription of `OLD`, and a second run that may make it again."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self.ledger = ledger
        self.settings = settings
        self.objects = Objects.of(settings)
        self.history = History(Location.of(settings), ledger.records)
        self.search = Search(self.history)
        self.reader = ArchiveReader(Location.of(settings))
        self.id = 0
        self.worker: Worker

    async def found(self, word: str) -> list[int]:
        return [hit.row["id"] for hit in await self.search.transcriptions("ada", word)]

    def select(self, where: str, *, unlike: str | None = NEWER, account: str | None = None) -> list[int]:
        return [one.id for one in self.reader.select(where, account, made_by_others_than=unlike, after=0, limit=100)]


@asynccontextmanager
async def told(settings: Settings, *, clock: ManualClock | None = None) -> AsyncIterator[Told]:
    ledger = await Ledger.open(settings, clock=clock, merge_policy=MergePolicy(min_tail_files=2))
    try:
        it = Told(ledger, settings)
        await it.objects.put_bytes(audio_key("ada", source("a").sha256), wav("a"))
        first = Worker(ledger, it.objects, await ledger.archives.open(RUN, REVISION))
        begun = (await first.begin(source("a")))[0]
        it.id = begun.file.transcription_id or 0 if begun.file else await first.transcribe(source("a"), OLD, speakers=1)
        it.worker = Worker(ledger, it.objects, await ledger.archives.open(AGAIN, NEWER))
        yield it
        await it.history.close()
    finally:
        await ledger.close()


async def test_history_and_search_show_the_newest_revision_alone(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        await until_projected(it.ledger)
        before = await it.history.get("transcriptions", "ada", it.id)
        assert before is not None
        assert await it.found("xylophonist") == [it.id]
        (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert (await it.history.get("transcriptions", "ada", it.id)) == before
        end = await it.worker.end(begun, NEW, NEWER, speakers=2)
        await it.ledger.archives.finish_files(it.worker.archive.id, [end])
        for reader in (it, Told(it.ledger, it.settings)):
            row = await reader.history.get("transcriptions", "ada", it.id)
            assert row is not None
            assert (row["revision"], row["engine_revision"], row["num_speakers"]) == (1, NEWER, 2)
            assert row["created_at"] == before["created_at"]
            assert (await reader.history.page("transcriptions", "ada")).total == 1
        for step in ("in memory", "projected", "merged"):
            if step != "in memory":
                await until_projected(it.ledger)
            if step == "merged":
                await it.ledger.maintenance.run("merge", 30)
            for reader in (it, Told(it.ledger, it.settings)):
                assert (await reader.history.page("transcriptions", "ada")).total == 1, step
                if step != "in memory":
                    assert (await reader.found("saxophonist"), await reader.found("xylophonist")) == ([it.id], []), step
    async with told(home(tmp_path)) as after:
        assert (await read_jobs(after.ledger, "ada", 10, 0))[0] == 1
        job = await read_job(after.ledger, "ada", it.id)
        assert job is not None
        assert (job.revision, job.engine_revision) == (1, NEWER)


async def test_both_revisions_are_in_the_tables_and_the_earlier_result_stays_for_comparison(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        await it.worker.transcribe(again(it.id, source("a")), NEW, NEWER, speakers=2)
        await until_projected(it.ledger)
        rows = pl.scan_delta(f"{it.settings.storage_url}/tables/segments").select("id", "revision", "text").collect()
        assert sorted(rows.rows()) == [(it.id, 0, OLD), (it.id, 1, NEW)]
        (file,) = it.reader.files(it.worker.archive.id, limit=10)
        revisions = it.reader.revisions([it.id])
        diff = await compare(it.objects, file, revisions[it.id, 0], revisions[it.id, 1])
        assert (diff.old_words, diff.new_words, diff.errors, diff.word_error_rate) == (6, 6, 1, pytest.approx(1 / 6))
        assert (diff.old_speakers, diff.new_speakers, diff.problem) == (1, 2, None)
        (stretch,) = diff.differences
        assert (stretch.old, stretch.new, stretch.span.start_secs) == ("xylophonist", "saxophonist", 0.5)
        gone = await compare(it.objects, file, None, revisions[it.id, 1])
        assert gone.problem == "the earlier revision is no longer kept"


async def test_the_cache_answers_with_the_newest_revision_and_with_nothing_that_was_deleted(tmp_path: Path) -> None:
    file = source("a")
    async with told(home(tmp_path)) as it:

        async def answered(revision: str) -> str | None:
            asked = {"sha256": file.sha256, "audio_key": audio_key("ada", file.sha256), "engine_revision": revision}
            job = await it.ledger.jobs.create(new_job(options=file.options, **asked))
            return job.result_key if job.cached_from == it.id else None

        await until_projected(it.ledger)
        first = await answered(REVISION)
        assert first is not None
        assert await answered(REVISION) == first
        await it.worker.transcribe(again(it.id, file), NEW, NEWER, speakers=2)
        for _ in ("in memory", "projected"):
            newest = await answered(NEWER)
            assert newest not in (first, None)
            assert await answered(REVISION) is None
            await until_projected(it.ledger)
        await it.ledger.jobs.delete("ada", it.id)
        for _ in ("in memory", "erased"):
            assert await answered(NEWER) is None
            await until_projected(it.ledger)


async def test_what_the_present_engines_made_is_left_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        await until_projected(it.ledger)
        assert it.select("account = 'ada' and created_at > '2020-01-01'") == [it.id]
        assert it.select("true", account="bob") == []
        current = replace(again(it.id, source("a")), key="asked of the same engines")
        (refused,) = await it.worker.begin(current, revision=REVISION)
        assert refused.file is not None
        assert (refused.state, refused.file.reason) == (BeginState.DONE, "current")
        await it.worker.transcribe(again(it.id, source("a")), NEW, NEWER)
        await until_projected(it.ledger)
        assert (it.select("true"), it.select("true", unlike=None)) == ([], [it.id])
        assert it.select("revision = 0", unlike=None) == []
        for wrong in ("nonsense > 1", "1 = 1) or (1 = 1", "true; drop table x", "exists (select * from read_csv('x'))"):
            with pytest.raises(InvalidParameter) as refusal:
                it.select(wrong)
            assert refusal.value.param == "where"


async def test_a_failure_leaves_the_transcription_as_it_was(tmp_path: Path) -> None:
    async with told(home(tmp_path, max_attempts=1)) as it:
        before = await read_job(it.ledger, "ada", it.id)
        (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert begun.lease is not None
        end = FileEnd(begun.lease.job_id, begun.lease.lease, FileFailure("engine_failure", "no", retryable=True))
        for _ in range(2):
            (outcome,) = await it.ledger.archives.finish_files(it.worker.archive.id, [end])
            assert (outcome.status, outcome.error) == (FileStatus.FAILED, None)
        assert await read_job(it.ledger, "ada", it.id) == before
        (missing,) = await it.worker.begin(again(4711, source("b")), revision=NEWER)
        assert missing.file is not None
        assert missing.file.reason == "no_transcription"
        unstored = await it.worker.begin(again(it.id, source("a")), revision=NEWER, retry_failed=True, stored=False)
        assert unstored[0].file is not None
        assert unstored[0].file.reason == "no_audio"


async def test_a_lease_on_a_revision_runs_out_and_counts_as_an_attempt(tmp_path: Path) -> None:
    clock = ManualClock()
    async with told(home(tmp_path, max_attempts=2), clock=clock) as it:
        for attempt in (1, 2):
            (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
            assert begun.lease is not None
            leased = await it.ledger.jobs.leased(it.id, begun.lease.lease)
            assert (leased.revision, leased.status, leased.attempt) == (1, JobStatus.PROCESSING, 1 + attempt)
            clock.advance(16)
            await it.ledger.lease_expiry.expire()
            with pytest.raises(Conflict):
                await it.ledger.jobs.leased(it.id, begun.lease.lease)
        (failed,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert failed.file is not None
        assert (failed.file.status, failed.file.reason) == (FileStatus.FAILED, "worker_lost")


async def test_a_revision_whose_claim_was_lost_is_no_attempt(tmp_path: Path) -> None:
    clock = ManualClock()
    async with told(home(tmp_path, max_attempts=1), clock=clock) as it:
        for _ in range(3):
            (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
            assert begun.lease is not None
            clock.advance(16)
            await it.ledger.lease_expiry.expire()
        (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        (outcome,) = await it.ledger.archives.finish_files(it.worker.archive.id, [await it.worker.end(begun, NEW, NEWER)])
        assert outcome.status is FileStatus.COMPLETED


async def test_a_ledger_that_starts_again_waits_for_the_revision_once_more(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        end = await it.worker.end(begun, NEW, NEWER)
    async with told(home(tmp_path)) as after:
        assert (await after.ledger.archives.find(after.worker.archive.id)).counts.waiting == 1
        assert (await after.ledger.archives.finish_files(after.worker.archive.id, [end]))[0].error == "lease_lost"
        (taken,) = await after.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert taken.lease is not None
        assert taken.lease.attempt == 3
        last = await after.worker.end(taken, NEW, NEWER)
        assert (await after.ledger.archives.finish_files(after.worker.archive.id, [last]))[0].status is FileStatus.COMPLETED


async def test_an_answer_of_the_present_engines_makes_the_revision_for_nothing(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        new = new_job(account="ada", sha256=source("a").sha256, use_cache=False, engine_revision=NEWER)
        sent = await it.ledger.jobs.create(new)
        claim = await it.ledger.jobs.claim("queue", 1)
        assert claim is not None
        key, result = lease_key(claim.job, claim.lease), said(NEW, NEWER)
        await put_result(it.objects, key, result)
        await it.ledger.jobs.complete(sent.id, claim.lease, Outcome.of(result, key, None), result)
        (done,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert done.file is not None
        assert (done.file.status, done.file.cached, done.file.cost_usd) == (FileStatus.COMPLETED, True, 0.0)
        job = await read_job(it.ledger, "ada", it.id)
        assert job is not None
        assert (job.revision, job.cached_from, job.result_key) == (1, sent.id, key)


async def test_one_transcription_named_twice_or_by_two_runs_is_made_again_by_one(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        twice = [again(it.id, source("a")), replace(again(it.id, source("a")), key="the same once more")]
        first, second = await it.worker.begin(*twice, revision=NEWER)
        assert (first.state, second.state) == (BeginState.LEASED, BeginState.HELD)
        other = Worker(it.ledger, it.objects, await it.ledger.archives.open(replace(AGAIN, source="id = 1"), NEWER))
        (held,) = await other.begin(twice[0], revision=NEWER)
        assert held.state is BeginState.HELD
        await it.ledger.archives.finish_files(it.worker.archive.id, [await it.worker.end(first, NEW, NEWER)])
        (done,) = await other.begin(twice[0], revision=NEWER)
        assert done.file is not None
        assert done.file.reason == "current"


async def test_deleting_a_transcription_erases_all_its_revisions(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        first = await read_job(it.ledger, "ada", it.id)
        await until_projected(it.ledger)
        await it.worker.transcribe(again(it.id, source("a")), NEW, NEWER)
        second = await read_job(it.ledger, "ada", it.id)
        await until_projected(it.ledger)
        await it.ledger.jobs.delete("ada", it.id)
        await until_projected(it.ledger)
        assert first is not None
        assert second is not None
        for key in [*result_keys(first.result_key or ""), *result_keys(second.result_key or ""), first.audio_key]:
            with pytest.raises(NotFound):
                await it.objects.get_bytes(key)
        for table in ("transcriptions", "segments"):
            assert pl.scan_delta(f"{it.settings.storage_url}/tables/{table}").collect().is_empty()
        files = pl.scan_delta(f"{it.settings.storage_url}/tables/archive_files").collect()
        assert set(files["reason"]) == {"deleted"}
        assert set(files["filename"]) == {""}
        (gone,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        assert gone.file is not None
        assert gone.file.reason == "deleted"


async def test_deleting_while_a_revision_is_made_wins(tmp_path: Path) -> None:
    async with told(home(tmp_path)) as it:
        (begun,) = await it.worker.begin(again(it.id, source("a")), revision=NEWER)
        end = await it.worker.end(begun, NEW, NEWER)
        await it.ledger.jobs.delete("ada", it.id)
        (refused,) = await it.ledger.archives.finish_files(it.worker.archive.id, [end])
        assert refused.error == "lease_lost"
        await until_projected(it.ledger)
        assert await read_job(it.ledger, "ada", it.id) is None
        assert (await read_jobs(it.ledger, "ada", 10, 0))[0] == 0


async def test_superseded_revisions_are_forgotten_after_the_time_of_events(tmp_path: Path) -> None:
    clock = ManualClock()
    async with told(home(tmp_path), clock=clock) as it:
        await it.worker.transcribe(again(it.id, source("a")), NEW, NEWER)
        await until_projected(it.ledger)
        report = await it.ledger.maintenance.run("retention", 30)
        assert report is not None
        assert report.counts["revisions_forgotten"] == 0
        clock.advance(dt.timedelta(days=31).total_seconds())
        report = await it.ledger.maintenance.run("retention", 30)
        assert report is not None
        assert report.counts["revisions_forgotten"] == 1
        for table in ("transcriptions", "segments"):
            rows = pl.scan_delta(f"{it.settings.storage_url}/tables/{table}").select("id", "revision").collect()
            assert rows.rows() == [(it.id, 1)]
        fresh = Told(it.ledger, it.settings)
        assert await fresh.found("saxophonist") == [it.id]
        assert (await fresh.history.page("transcriptions", "ada")).total == 1


async def test_a_home_without_revisions_is_upgraded(tmp_path: Path) -> None:
    settings = home(tmp_path)
    location = Location.of(settings)
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    done = job_states.completed(
        job_states.claimed(job_states.submitted(1, now, new_job(account="ada", sha256=source("a").sha256)), "lease", now),
        "lease",
        outcome(job_states.submitted(1, now, new_job())),
        now,
        0.2,
    )
    waiting = job_states.submitted(2, now, new_job("waits"))
    events = [event_row(0, done), event_row(1, waiting)]
    for table, rows in ((TRANSCRIPTIONS, [job_row(done)]), (JOB_EVENTS, events)):
        since = {"archive_id", "revision"} if table is JOB_EVENTS else {"archive_id"}
        before = replace(table, schema=pa.schema([column for column in table.schema if column.name not in since]))
        app_id = "project" if table is TRANSCRIPTIONS else "ledger"
        writer = await TableWriter.open(before, location, app_id=app_id, checkpoint_interval=20)
        await writer.append([{name: value for name, value in row.items() if name not in since} for row in rows], 1)
        await writer.close()
    ledger = await Ledger.open(settings)
    try:
        assert await read_job(ledger, "ada", 1) == done
        claim = await ledger.jobs.claim("queue", 1)
        assert claim is not None
        assert claim.job.id == 2
        worker = Worker(ledger, Objects.of(settings), await ledger.archives.open(AGAIN, NEWER))
        await worker.transcribe(again(1, source("a")), NEW, NEWER)
        job = await read_job(ledger, "ada", 1)
        assert job is not None
        assert job.revision == 1
    finally:
        await ledger.close()
