"""Deleting a transcription: gone at once for everyone, then from tables, objects and, once vacuumed, from every version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.objects import Objects, account_folder, audio_key
from lakehouse.storage.result_objects import lease_key, put_result, text_key
from schemas.domain import Job, JobStatus, NewJob, Outcome
from schemas.errors import Conflict, NotFound, Unavailable
from schemas.settings import Settings
from tests.support.lakehouse_kit import (
    home,
    new_job,
    outcome,
    read_job,
    read_jobs,
    stores_with,
    transcript,
    until_projected,
    vacuum,
)

pytestmark = pytest.mark.integration

SECRET = "xylophonist"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(settings)
    try:
        yield ledger
    finally:
        await ledger.close()


async def send(ledger: Ledger, objects: Objects, new: NewJob) -> Job:
    """A job with its recording, as the gateway accepts it."""
    await objects.put_bytes(new.audio_key, SECRET.encode())
    return await ledger.jobs.create(new)


async def finish(ledger: Ledger, objects: Objects, text: str = f"I am a {SECRET}.") -> Job:
    """The oldest waiting job with a result that says ``text``, as worker and gateway leave it."""
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    job, said = claim.job, transcript(text)
    key, playback = lease_key(job, claim.lease), f"playback/{account_folder(job.account)}/{job.sha256}.opus"
    await put_result(objects, key, said)
    await objects.put_bytes(playback, SECRET.encode())
    done: Outcome = outcome(job, result_key=key, playback_key=playback)
    return await ledger.jobs.complete(job.id, claim.lease, done, said)


def recording(content: str, **changes: object) -> NewJob:
    new = new_job(content, filename=f"{SECRET}.wav", **changes)
    return NewJob(**{**{f: getattr(new, f) for f in new.__slots__}, "audio_key": audio_key(new.account, new.sha256)})


@pytest.mark.parametrize("settled", [True, False], ids=["in its tables", "in memory"])
def test_no_store_holds_a_word_of_it_after_a_vacuum(tmp_path: Path, settled: bool) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            await send(ledger, objects, recording("a", account="o'ada"))
            job = await finish(ledger, objects)
            await send(ledger, objects, recording("b"))
            kept = await finish(ledger, objects, "Something else.")
            if settled:
                await until_projected(ledger)
                assert {f.partition("/")[0] for f in stores_with(settings, SECRET)} == {"objects", "tables"}
            await ledger.jobs.delete("o'ada", job.id)
            assert (await read_jobs(ledger, "o'ada", 10, 0)) == (0, [])
            await until_projected(ledger)
            assert await read_job(ledger, "o'ada", job.id) is None
            assert await read_jobs(ledger, "o'ada", 10, 0) == (0, [])
            assert (await read_jobs(ledger, "ada", 10, 0))[1] == [kept]
            await ledger.jobs.delete("ada", kept.id)

    asyncio.run(scenario())
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []
    assert list(stores_with(settings, "Something else")) == []


def test_objects_stay_as_long_as_another_job_needs_them(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            await send(ledger, objects, recording("a"))
            first = await finish(ledger, objects)
            second = await send(ledger, objects, recording("a"))
            assert second.cached
            await ledger.jobs.delete("ada", first.id)
            await until_projected(ledger)
            assert second.result_key is not None
            assert SECRET.encode() in await objects.get_bytes(second.result_key)
            assert await objects.exists(text_key(second.result_key))
            assert await objects.exists(second.audio_key)
            again = await send(ledger, objects, recording("a"))
            assert not again.cached, "the result of a deleted job answered another"
            await ledger.jobs.delete("ada", again.id)
            await ledger.jobs.delete("ada", second.id)
            await until_projected(ledger)
            assert [key async for key, _ in objects.list("results")] == []
            assert [key async for key, _ in objects.list("audio")] == []

    asyncio.run(scenario())


def test_a_deletion_cut_off_before_it_reached_the_tables_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            await send(ledger, objects, recording("a"))
            job = await finish(ledger, objects)
            await until_projected(ledger)
            # As if the process died right after the deletion was acknowledged.
            monkeypatch.setattr(ledger._projector, "add", lambda _: None)
            await ledger.jobs.delete("ada", job.id)
            monkeypatch.undo()
        assert list(stores_with(settings, SECRET))
        async with opened(settings) as ledger:
            assert (await read_jobs(ledger, "ada", 10, 0)) == (0, [])
            await until_projected(ledger)
        assert pl.read_delta(f"{settings.storage_url}/tables/transcriptions").is_empty()
        async with opened(settings) as ledger:
            assert (await read_jobs(ledger, "ada", 10, 0)) == (0, [])

    asyncio.run(scenario())
    vacuum(settings)
    assert list(stores_with(settings, SECRET)) == []


def test_a_worker_learns_that_its_job_was_deleted(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            job = await send(ledger, objects, recording("a"))
            claim = await ledger.jobs.claim("w", 5)
            assert claim is not None
            await ledger.jobs.delete("ada", job.id)
            for wait in (False, True):
                if wait:
                    await until_projected(ledger)
                with pytest.raises(Conflict, match=r"lease|deleted"):
                    await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
                with pytest.raises(Conflict):
                    await ledger.jobs.renew(job.id, claim.lease)
            waiting = await send(ledger, objects, recording("b"))
            await ledger.jobs.delete("ada", waiting.id)
            assert await ledger.jobs.claim("w", 0) is None
        async with opened(settings) as ledger:
            assert await ledger.jobs.claim("w", 0) is None
            assert (await ledger.maintenance.stats()).live_jobs in ({}, {JobStatus.DELETED.value: 2})

    asyncio.run(scenario())


def test_only_its_owner_may_delete_it_and_once(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            job = await send(ledger, objects, recording("a"))
            with pytest.raises(NotFound):
                await ledger.jobs.delete("eve", job.id)
            answers = await asyncio.gather(*(ledger.jobs.delete("ada", job.id) for _ in range(3)), return_exceptions=True)
            assert sorted(type(a).__name__ for a in answers) == ["Job", "NotFound", "NotFound"]
            await until_projected(ledger)
            with pytest.raises(NotFound):
                await ledger.jobs.delete("ada", job.id)

    asyncio.run(scenario())


async def test_bytes_sent_while_they_are_being_erased_are_stored_or_requested_again(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)
    kept = refused = 0
    async with opened(settings) as ledger:
        for turn in range(30):
            new = recording("same", use_cache=False)
            await send(ledger, objects, new)
            job = await finish(ledger, objects)

            async def again(after_secs: float, new: NewJob = new) -> Job | None:
                await asyncio.sleep(after_secs)
                try:
                    return await ledger.jobs.create(new)
                except Unavailable:
                    return None

            _, made = await asyncio.gather(ledger.jobs.delete(new.account, job.id), again(turn * 0.002))
            await until_projected(ledger)
            if made is None:
                refused += 1
                continue
            assert await objects.exists(made.audio_key)
            kept += 1
            await finish(ledger, objects)
            await ledger.jobs.delete(new.account, made.id)
            await until_projected(ledger)
    assert kept, "the race was never won by the new job"
    assert kept + refused == 30
