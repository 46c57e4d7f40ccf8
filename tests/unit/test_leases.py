"""Leases run out by the monotonic clock, in the ledger's own task, and come back after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lakehouse.ledger.leases import new_lease
from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.queue import JobQueue
from schemas.domain import Job, JobStatus
from schemas.errors import Conflict
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, read_job, transcript

pytestmark = pytest.mark.unit


async def until_status(ledger: Ledger, job_id: int, status: JobStatus) -> Job:
    """The job once its task has come to ``status``; virtual time moves nothing else, so turns of the loop suffice."""
    async with asyncio.timeout(60):
        while True:
            job = await read_job(ledger, "ada", job_id)
            assert job is not None
            if job.status is status:
                return job
            await asyncio.sleep(0.005)


async def test_a_silent_worker_loses_the_job_and_the_last_attempt_fails_it(tmp_path: Path) -> None:
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path, lease_secs=10, max_attempts=2), clock=clock)
    try:
        job = await ledger.jobs.create(new_job())
        first = await ledger.jobs.claim("w", 0)
        assert first is not None
        await ledger.jobs.renew(job.id, first.lease)
        clock.advance(9.9)
        assert (await read_job(ledger, "ada", job.id)).status is JobStatus.PROCESSING  # type: ignore[union-attr]
        clock.advance(1.2)
        await until_status(ledger, job.id, JobStatus.SUBMITTED)
        with pytest.raises(Conflict, match="lease"):
            await ledger.jobs.complete(job.id, first.lease, outcome(job), transcript())

        second = await ledger.jobs.claim("w", 0)
        assert second is not None
        assert second.lease != first.lease
        assert (await ledger.jobs.leased(job.id, second.lease)).attempt == 2
        clock.advance(10)
        failed = await until_status(ledger, job.id, JobStatus.FAILED)
        assert "2 times" in (failed.error_message or "")
        assert await ledger.jobs.claim("w", 0) is None
    finally:
        await ledger.close()


async def test_a_jump_of_the_time_of_day_moves_neither_leases_nor_created_at_back(tmp_path: Path) -> None:
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path, lease_secs=10), clock=clock)
    try:
        before = await ledger.jobs.create(new_job("one"))
        claim = await ledger.jobs.claim("w", 0)
        assert claim is not None
        await ledger.jobs.renew(before.id, claim.lease)
        clock.turn_back(3600)
        after = await ledger.jobs.create(new_job("two"))
        assert (after.id, after.created_at) == (before.id + 1, before.created_at)
        clock.advance(5)
        await ledger.lease_expiry.expire()
        assert await ledger.jobs.renew(before.id, claim.lease) == 10
    finally:
        await ledger.close()


async def test_a_worker_carries_on_over_a_restart_of_the_ledger(tmp_path: Path) -> None:
    settings, clock = home(tmp_path, lease_secs=10), ManualClock()
    ledger = await Ledger.open(settings, clock=clock)
    job = await ledger.jobs.create(new_job())
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    await ledger.jobs.renew(job.id, claim.lease)
    clock.advance(9)
    await ledger.close()

    ledger = await Ledger.open(settings, clock=clock)
    try:
        clock.advance(9)
        await ledger.lease_expiry.expire()
        assert (await ledger.jobs.leased(job.id, claim.lease)).id == job.id
        await ledger.jobs.renew(job.id, claim.lease)
        done = await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
        assert done.cost_usd == pytest.approx(300 * 0.20 / 3600, abs=1e-6)
        assert await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript()) == done
        with pytest.raises(Conflict):
            await ledger.jobs.leased(job.id, claim.lease)
    finally:
        await ledger.close()


async def test_a_claim_whose_answer_was_lost_is_no_attempt_and_waits_no_whole_lease(tmp_path: Path) -> None:
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path, lease_secs=9, max_attempts=1), clock=clock)
    try:
        job = await ledger.jobs.create(new_job())
        assert await ledger.jobs.claim("w", 0) is not None
        clock.advance(2.9)
        await ledger.lease_expiry.expire()
        assert (await read_job(ledger, "ada", job.id)).status is JobStatus.PROCESSING  # type: ignore[union-attr]
        clock.advance(0.1)
        await ledger.lease_expiry.expire()
        again = await ledger.jobs.claim("w", 0)
        assert again is not None
        assert (again.job.id, again.job.attempt) == (job.id, 1)
        await ledger.jobs.leased(job.id, again.lease)
        clock.advance(8.9)
        await ledger.lease_expiry.expire()
        assert (await ledger.jobs.leased(job.id, again.lease)).status is JobStatus.PROCESSING
        # That word was not the first: it extends nothing.
        clock.advance(0.1)
        await ledger.lease_expiry.expire()
        assert (await read_job(ledger, "ada", job.id)).status is JobStatus.FAILED  # type: ignore[union-attr]
    finally:
        await ledger.close()


async def test_while_workers_cannot_speak_no_lease_runs(tmp_path: Path) -> None:
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path, lease_secs=9, max_attempts=1), clock=clock, behind_gateway=True)
    try:
        job = await ledger.jobs.create(new_job())
        claim = await ledger.jobs.claim("w", 0)
        assert claim is not None
        await ledger.jobs.renew(job.id, claim.lease)

        async def status_after(secs: float, *, attended: bool) -> JobStatus:
            clock.advance(secs)
            if attended:
                await ledger.jobs.gateway_alive()
            await ledger.lease_expiry.expire()
            found = await read_job(ledger, "ada", job.id)
            assert found is not None
            return found.status

        assert await status_after(100, attended=False) is JobStatus.PROCESSING
        assert await status_after(100, attended=True) is JobStatus.PROCESSING
        # The whole time again, counted by those who say that workers can speak.
        assert [await status_after(3, attended=True) for _ in range(2)] == [JobStatus.PROCESSING] * 2
        assert await status_after(3, attended=False) is JobStatus.PROCESSING
        assert await status_after(0, attended=True) is JobStatus.FAILED
    finally:
        await ledger.close()


async def test_leases_on_record_when_the_ledger_starts_wait_for_a_gateway_and_count(tmp_path: Path) -> None:
    settings, clock = home(tmp_path, lease_secs=9, max_attempts=1), ManualClock()
    ledger = await Ledger.open(settings, clock=clock, behind_gateway=True)
    job = await ledger.jobs.create(new_job())
    assert await ledger.jobs.claim("w", 0) is not None
    await ledger.close()

    ledger = await Ledger.open(settings, clock=clock, behind_gateway=True)
    try:
        clock.advance(30)
        await ledger.jobs.gateway_alive()
        for _ in range(3):
            assert (await read_job(ledger, "ada", job.id)).status is JobStatus.PROCESSING  # type: ignore[union-attr]
            clock.advance(3)
            await ledger.jobs.gateway_alive()
            await ledger.lease_expiry.expire()
        assert (await read_job(ledger, "ada", job.id)).status is JobStatus.FAILED  # type: ignore[union-attr]
    finally:
        await ledger.close()


async def test_a_waiting_worker_gets_the_next_job_at_once(tmp_path: Path) -> None:
    ledger = await Ledger.open(home(tmp_path))
    try:
        waiting = asyncio.create_task(ledger.jobs.claim("w", 30))
        await asyncio.sleep(0)
        job = await ledger.jobs.create(new_job())
        claim = await asyncio.wait_for(waiting, 60)
        assert claim is not None
        assert claim.job.id == job.id
    finally:
        await ledger.close()


async def test_a_worker_that_stops_waiting_takes_no_job_with_it() -> None:
    queue = JobQueue()
    gone, stays = asyncio.create_task(queue.take(30)), asyncio.create_task(queue.take(30))
    await asyncio.sleep(0)
    queue.put(7)
    gone.cancel()  # It has been handed 7, and has not woken to hear it.
    assert await asyncio.wait_for(stays, 60) == 7
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await queue.take(0.01) is None
    queue.put(8)
    assert len(queue) == 1


async def test_the_oldest_waiting_job_goes_first_even_when_it_came_back() -> None:
    queue = JobQueue()
    for job_id in (5, 9, 2):
        queue.put(job_id)
    assert [await queue.take(0) for _ in range(4)] == [2, 5, 9, None]


def test_lease_tokens_cannot_be_guessed() -> None:
    tokens = {new_lease("w") for _ in range(1000)}
    assert len(tokens) == 1000
    assert min(map(len, tokens)) >= len("w.") + 32
