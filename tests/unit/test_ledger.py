"""The ledger on real tables: acceptance, cache, lists, projection, restarts, one writer a home."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse.ledger.job_states import cost_usd
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas.domain import Job, JobOptions, JobStatus, SpeakerHint
from schemas.errors import Conflict, NotFound, Unavailable
from schemas.settings import Settings
from tests.support.lakehouse_kit import commits_of_unknown_end, home, new_job, outcome, read_job, read_jobs, transcript

pytestmark = pytest.mark.unit


def rows(settings: Settings, table: str) -> pl.DataFrame:
    return pl.scan_delta(Location.of(settings).table_uri(table)).collect()


async def finish(ledger: Ledger, new: Any, *, with_transcript: bool = True) -> Job:
    await ledger.jobs.create(new)
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    return await ledger.jobs.complete(
        claim.job.id, claim.lease, outcome(claim.job), transcript() if with_transcript else None
    )


async def test_ids_grow_with_time_over_concurrency_and_restarts(tmp_path: Path) -> None:
    settings = home(tmp_path)
    seen: list[Job] = []
    for _ in range(3):
        ledger = await Ledger.open(settings)
        seen += await asyncio.gather(*(ledger.jobs.create(new_job(str(i))) for i in range(20)))
        await ledger.close()
    assert sorted(job.id for job in seen) == list(range(1, 61))
    by_id = sorted(seen, key=lambda job: job.id)
    assert [job.created_at for job in by_id] == sorted(job.created_at for job in by_id)
    assert all(job.created_at.microsecond % 1000 == 0 for job in seen)


async def test_a_job_reads_back_as_it_was_written(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    done = await finish(ledger, new_job(options=JobOptions(non_speech=True), filename="Übung \U0001f3a4.wav"))
    await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        assert (await ledger.maintenance.stats()).live_jobs == {}
        assert await read_job(ledger, "ada", done.id) == done
        assert await read_job(ledger, "bob", done.id) is None
        assert await read_job(ledger, "ada", 999) is None
        assert await read_jobs(ledger, "ada", 10, 0) == (1, [done])
        with pytest.raises(NotFound):
            await ledger.jobs.complete(999, "no-lease", outcome(done))
    finally:
        await ledger.close()


async def test_an_earlier_result_answers_the_same_question_only(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    source = await finish(ledger, new_job("one"))
    for _ in range(2):
        hit = await ledger.jobs.create(new_job("one", filename="again.wav"))
        assert (hit.status, hit.cached, hit.cached_from, hit.cost_usd) == (JobStatus.COMPLETED, True, source.id, 0.0)
        assert (hit.filename, hit.result_key, hit.language) == ("again.wav", source.result_key, "en")
        assert hit.created_at >= source.created_at
        for other in (
            new_job("two"),
            new_job("one", account="bob"),
            new_job("one", use_cache=False),
            new_job("one", options=JobOptions(non_speech=True)),
            new_job("one", engine_revision="engines-2"),
        ):
            assert (await ledger.jobs.create(other)).status is JobStatus.SUBMITTED
        # The second round asks an index that was loaded from the table.
        await ledger.close()
        ledger = await Ledger.open(settings)
    await ledger.close()


async def test_the_same_sound_asked_with_other_options_hides_no_result(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    asked = [JobOptions(speakers=SpeakerHint(n, n)) for n in (1, 2)] + [JobOptions(), JobOptions(non_speech=True)]
    jobs = [await finish(ledger, new_job("one", options=options, use_cache=False)) for options in asked]
    for _ in range(2):
        for options, source in zip(asked, jobs, strict=True):
            assert (await ledger.jobs.create(new_job("one", options=options))).cached_from == source.id, options
        # The second round asks an index that was loaded from the table.
        await ledger.close()
        ledger = await Ledger.open(settings)
    await ledger.close()


async def test_finished_jobs_and_their_segments_reach_the_tables_once(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)
    ledger = await Ledger.open(settings)
    done = await finish(ledger, new_job("one"))
    await objects.put_bytes(f"results/{done.id}.json", json.dumps(transcript().to_json()).encode())
    await ledger.jobs.create(new_job("one", filename="cached.wav"))
    await ledger.jobs.create(new_job("three"))
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    await ledger.jobs.fail(claim.job.id, claim.lease, "the recording holds no audio", False)
    await ledger.close()
    await (await Ledger.open(settings)).close()

    finished = rows(settings, "transcriptions").sort("id")
    assert finished["id"].to_list() == [1, 2, 3]
    assert finished["status"].to_list() == ["completed", "completed", "failed"]
    segments = rows(settings, "segments").sort("id", "position")
    assert segments.select("id", "position", "speaker").rows() == [(1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 1, 1)]
    assert segments["lexemes"][0] == " good morn dentist "
    assert segments["words"][0][1] == {"text": "dentists.", "start_secs": 1.0, "end_secs": 1.5, "confidence": 1.0}


async def test_a_start_projects_what_a_crash_left(tmp_path: Path) -> None:
    """A ledger that ends between event and projection, played by taking the projected tables away."""
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    done = await finish(ledger, new_job("one"))
    await Objects.of(settings).put_bytes(f"results/{done.id}.json", json.dumps(transcript().to_json()).encode())
    await ledger.close()
    for table in ("transcriptions", "segments"):
        shutil.rmtree(Location.of(settings).table_uri(table))

    ledger = await Ledger.open(settings)
    assert await read_jobs(ledger, "ada", 10, 0) == (1, [done])
    await ledger.close()
    assert rows(settings, "transcriptions")["id"].to_list() == [1]
    assert len(rows(settings, "segments")) == 2


async def test_lists_join_memory_and_table_without_seam(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    for i in range(6):
        await finish(ledger, new_job(f"done {i}", use_cache=False))
    await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        for i in range(3):
            await ledger.jobs.create(new_job(f"waiting {i}"))
        await ledger.jobs.create(new_job("other", account="bob"))
        pages = [[job.id for job in (await read_jobs(ledger, "ada", 2, offset))[1]] for offset in range(0, 12, 2)]
        assert pages == [[9, 8], [7, 6], [5, 4], [3, 2], [1], []]
        assert (await read_jobs(ledger, "ada", 1, 100))[0] == 9
    finally:
        await ledger.close()


async def test_the_error_of_a_second_ledger_names_the_first(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    try:
        with pytest.raises(Conflict, match=r"process \d+ on") as caught:
            await Ledger.open(settings)
        assert caught.value.code == "home_locked"
        await ledger.jobs.create(new_job())
    finally:
        await ledger.close()
    await (await Ledger.open(settings)).close()


async def test_a_caller_that_goes_away_leaves_the_job_accepted(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        caller = asyncio.create_task(ledger.jobs.create(new_job()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        claim = await ledger.jobs.claim("w", 10)
        assert claim is not None
        assert claim.job.id == 1
    finally:
        await ledger.close()


async def test_two_completions_at_once_are_one(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    job = await ledger.jobs.create(new_job())
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    both = await asyncio.gather(*(ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript()) for _ in range(2)))
    assert both[0] == both[1]
    await ledger.close()
    assert rows(settings, "job_events")["status"].to_list().count("completed") == 1
    assert len(rows(settings, "segments")) == 2


@pytest.mark.parametrize(
    ("secs", "usd"), [(0.0, 0.0), (0.2, 0.000056), (300.0, 0.016667), (300.0000001, 0.016667), (3600.0, 0.2)]
)
def test_audio_is_billed_by_the_begun_second(secs: float, usd: float) -> None:
    assert cost_usd(secs, 0.20) == usd


async def test_a_sending_repeated_after_its_answer_was_lost_is_the_same_job(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    first = await ledger.jobs.create(new_job("a", submission="s-1"))
    assert await ledger.jobs.create(new_job("a", submission="s-1")) == first
    await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        assert (await ledger.jobs.create(new_job("a", submission="s-1"))).id == first.id
        assert (await ledger.jobs.create(new_job("a", submission="s-2"))).id != first.id
        assert (await ledger.jobs.create(new_job("a", account="bob", submission="s-1"))).id != first.id
    finally:
        await ledger.close()


async def test_a_submit_that_is_repeated_after_a_commit_of_unknown_end_is_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        new = new_job("call", submission="client-1")
        with commits_of_unknown_end(monkeypatch), pytest.raises(Unavailable):
            await ledger.jobs.create(new)
        job = await ledger.jobs.create(new)
        assert await ledger.jobs.create(new) == job
        assert [one.id for one in (await read_jobs(ledger, "ada", 10, 0))[1]] == [job.id]
        claim = await ledger.jobs.claim("w", 0)
        assert claim is not None
        assert claim.job.id == job.id
        assert await ledger.jobs.claim("w", 0) is None
    finally:
        await ledger.close()
    reopened = await Ledger.open(home(tmp_path))
    try:
        assert [one.id for one in (await read_jobs(reopened, "ada", 10, 0))[1]] == [job.id]
    finally:
        await reopened.close()
