"""Objects that were unused and become needed are neither removed nor lost without a word."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.progress import Watched
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import Conflict, Unavailable
from serve.services.job_results import JobResults
from tests.support.lakehouse_kit import home, new_job, read_job, transcript

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
