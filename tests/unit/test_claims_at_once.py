"""A job that is made while a worker waits: both are one commit, and a worker that has left delays the next one little."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.domain import Claim, JobStatus
from schemas.settings import LimitSettings
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, read_job, transcript

pytestmark = pytest.mark.unit

WAIT_SECS = 60


async def waiting(ledger: Ledger, worker: str) -> asyncio.Task[Claim | None]:
    """A worker that waits for a job by now."""
    task = asyncio.create_task(ledger.jobs.claim(worker, 10 * WAIT_SECS))
    await asyncio.sleep(0)
    return task


async def claimed(task: asyncio.Task[Claim | None]) -> Claim:
    found = await asyncio.wait_for(task, WAIT_SECS)
    assert found is not None
    return found


async def test_a_job_and_its_claim_are_one_commit_that_survives_a_restart(tmp_path: Path) -> None:
    settings = home(tmp_path)
    ledger = await Ledger.open(settings)
    try:
        worker = await waiting(ledger, "w")
        before = (await ledger.maintenance.stats()).tables["job_events"]
        job = await ledger.jobs.create(new_job())
        claim = await claimed(worker)
        commits = (await ledger.maintenance.stats()).tables["job_events"] - before
        assert (job.status, job.attempt) == (JobStatus.SUBMITTED, 0)
        assert (claim.job.id, claim.job.status, claim.job.attempt) == (job.id, JobStatus.PROCESSING, 1)
        assert claim.lease.startswith("w.")
    finally:
        await ledger.close()
    assert commits == 1
    ledger = await Ledger.open(settings)
    try:
        assert (await ledger.jobs.leased(job.id, claim.lease)).attempt == 1
        done = await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
        assert done.status is JobStatus.COMPLETED
    finally:
        await ledger.close()


async def test_each_waiting_worker_gets_one_job_and_further_jobs_wait(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        workers = [await waiting(ledger, name) for name in ("a", "b")]
        jobs = await asyncio.gather(*(ledger.jobs.create(new_job(f"talk {n}")) for n in range(3)))
        claims = [await claimed(worker) for worker in workers]
        assert sorted(claim.job.id for claim in claims) == [job.id for job in jobs[:2]]
        left = await read_job(ledger, "ada", jobs[2].id)
        assert left is not None
        assert (left.status, left.attempt) == (JobStatus.SUBMITTED, 0)
        again = await ledger.jobs.claim("c", 0)
        assert again is not None
        assert again.job.id == jobs[2].id
    finally:
        await ledger.close()


async def test_a_job_whose_worker_left_meanwhile_is_the_next_ones(tmp_path: Path) -> None:
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path, lease_secs=9, max_attempts=1), clock=clock)
    try:
        leaves = await waiting(ledger, "w")
        creating = asyncio.create_task(ledger.jobs.create(new_job()))
        for _ in range(10):  # by then the commit is under way, in its thread
            await asyncio.sleep(0)
        leaves.cancel()
        job = await creating
        claim = await ledger.jobs.claim("v", 0)
        assert claim is not None
        assert (claim.job.id, claim.job.attempt) == (job.id, 1)
        assert (await ledger.jobs.leased(job.id, claim.lease)).status is JobStatus.PROCESSING
        assert await ledger.jobs.claim("v", 0) is None
    finally:
        await ledger.close()


async def test_an_account_with_its_share_in_work_gets_no_claim_with_the_job(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path).model_copy(update={"limits": LimitSettings(jobs_at_once=1)}))
    try:
        workers = [await waiting(ledger, name) for name in ("a", "b")]
        first = await ledger.jobs.create(new_job("one"))
        second = await ledger.jobs.create(new_job("two"))
        claim = await claimed(workers[0])
        assert claim.job.id == first.id
        held = await read_job(ledger, "ada", second.id)
        assert held is not None
        assert held.status is JobStatus.SUBMITTED
        await ledger.jobs.complete(first.id, claim.lease, outcome(first), transcript())
        assert (await claimed(workers[1])).job.id == second.id
    finally:
        await ledger.close()
