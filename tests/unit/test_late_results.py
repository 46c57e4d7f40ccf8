"""A worker or gateway that was paused until another worker had its job: what it writes then changes nothing stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result, result_objects, written_keys
from schemas import wire
from schemas.archives import Lease
from schemas.domain import Claim, Job, Transcript
from schemas.errors import Conflict, NotFound
from serve.services.archive_results import ArchiveResults
from serve.services.job_results import JobResults
from tests.support.archive_kit import AGAIN, NEWER, RUN, Worker, again, source
from tests.support.lakehouse_kit import REVISION, home, new_job, read_job, transcript, until_projected

pytestmark = pytest.mark.unit

SECS = 20.0
EARLY, LATE = transcript("Good morning."), transcript("Good evening.")


class Paused(Objects):
    """The store of a gateway that is paused just before it writes, while ``meanwhile`` happens."""

    def __init__(self, folder: Path, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(Location.of(home(folder)))
        self._meanwhile = meanwhile

    async def write_many(self, contents: Mapping[str, bytes]) -> None:
        await self._meanwhile()
        await super().write_many(contents)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Ledger, Objects]]:
    settings = home(folder)
    ledger = await Ledger.open(settings)
    try:
        async with asyncio.timeout(SECS):
            yield ledger, Objects.of(settings)
    finally:
        await ledger.close()


async def claimed(ledger: Ledger, worker: str) -> Claim:
    claim = await ledger.jobs.claim(worker, 10)
    assert claim is not None
    return claim


async def stored(objects: Objects) -> dict[str, bytes]:
    return {key: await objects.get_bytes(key) for key in [key async for key, _ in objects.list("results")]}


async def test_a_late_write_under_a_released_lease_changes_no_result(tmp_path: Path) -> None:
    async with opened(tmp_path) as (ledger, objects):
        job = await ledger.jobs.create(new_job())
        paused = await claimed(ledger, "paused")

        async def overtaken() -> None:
            await ledger.jobs.release(job.id, paused.lease)
            quick = await claimed(ledger, "quick")
            assert quick.job.attempt == paused.job.attempt, "a released attempt is not counted"
            await JobResults(ledger.jobs, objects, 10**6).complete(job.id, quick.lease, LATE)

        late = JobResults(ledger.jobs, Paused(tmp_path, overtaken), 10**6)
        with pytest.raises(Conflict) as caught:
            await late.complete(job.id, paused.lease, EARLY)
        assert caught.value.code == "lease_lost"
        done = await read_job(ledger, "ada", job.id)
        assert done is not None
        assert await stored(objects) == result_objects(done.result_key or "", LATE)


async def test_a_late_batch_changes_no_result(tmp_path: Path) -> None:
    async with opened(tmp_path) as (ledger, objects):
        run = await ledger.archives.open(RUN, REVISION)
        (begun,) = await Worker(ledger, objects, run, "paused").begin(source("a"))
        assert begun.lease is not None
        paused = begun.lease

        async def overtaken() -> None:
            await ledger.archives.release_files(run.id, {paused.job_id: paused.lease})
            (again,) = await Worker(ledger, objects, run, "quick").begin(source("a"))
            assert again.lease is not None
            assert again.lease.attempt == paused.attempt, "a released attempt is not counted"
            (done,) = await ArchiveResults(objects, ledger.archives, ledger.jobs).finish(run.id, batch(again.lease, LATE))
            assert done.error is None

        late = ArchiveResults(Paused(tmp_path, overtaken), ledger.archives, ledger.jobs)
        (refused,) = await late.finish(run.id, batch(paused, EARLY))
        assert refused.error == "lease_lost"
        done = await read_job(ledger, "ada", paused.job_id)
        assert done is not None
        assert await stored(objects) == result_objects(done.result_key or "", LATE)


def batch(lease: Lease, result: Transcript) -> bytes:
    """The body that ends a file with ``result``."""
    item = {"job_id": lease.job_id, "lease": lease.lease, "transcript": result.to_json()}
    return wire.pack({"files": [item]})


async def test_a_repetition_after_the_next_revision_removes_no_earlier_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as (ledger, objects):
        job = await ledger.jobs.create(new_job(sha256=source("a").sha256))
        claim = await claimed(ledger, "w")
        run = await ledger.archives.open(AGAIN, NEWER)
        recorded: dict[str, bytes] = {}

        async def repeated() -> None:
            await JobResults(ledger.jobs, objects, 10**6).complete(job.id, claim.lease, EARLY)
            recorded.update(await stored(objects))
            await Worker(ledger, objects, run).transcribe(again(job.id, source("a")), "Good evening.", NEWER)

        with pytest.raises(Conflict):
            await JobResults(ledger.jobs, Paused(tmp_path, repeated), 10**6).complete(job.id, claim.lease, EARLY)
        assert len(recorded) == len(written_keys(""))
        assert recorded.items() <= (await stored(objects)).items()


async def test_a_repetition_after_a_deletion_removes_no_result_that_another_job_has(tmp_path: Path) -> None:
    async with opened(tmp_path) as (ledger, objects):
        job = await ledger.jobs.create(new_job())
        claim = await claimed(ledger, "w")
        results = JobResults(ledger.jobs, objects, 10**6)
        leased = JobResults(Leased(ledger, claim), objects, 10**6)  # type: ignore[arg-type]
        await results.complete(job.id, claim.lease, EARLY)
        cached = await ledger.jobs.create(new_job())
        assert cached.cached_from == job.id
        await ledger.jobs.delete("ada", job.id)
        with pytest.raises((Conflict, NotFound)):
            await leased.complete(job.id, claim.lease, EARLY)
        await until_projected(ledger)
        assert await stored(objects) == result_objects(cached.result_key or "", EARLY)


class Leased:
    """The ledger's jobs for a gateway that learned of a lease before the lease was lost."""

    def __init__(self, ledger: Ledger, claim: Claim) -> None:
        self.watch, self.complete = ledger.jobs.watch, ledger.jobs.complete
        self._claim = claim

    async def leased(self, *_: object) -> Job:
        return self._claim.job


async def test_a_deletion_erases_what_a_dead_gateway_wrote_under_an_earlier_lease(tmp_path: Path) -> None:
    async with opened(tmp_path) as (ledger, objects):
        job = await ledger.jobs.create(new_job())
        # The gateway died after this write, before it asked the ledger.
        dead = await claimed(ledger, "dead")
        await put_result(objects, lease_key(dead.job, dead.lease), EARLY)
        await ledger.jobs.release(job.id, dead.lease)
        quick = await claimed(ledger, "quick")
        await JobResults(ledger.jobs, objects, 10**6).complete(job.id, quick.lease, LATE)
        assert len(await stored(objects)) == 2 * len(written_keys(""))
        await until_projected(ledger)
        await ledger.jobs.delete("ada", job.id)
        await until_projected(ledger)
        assert await stored(objects) == {}
