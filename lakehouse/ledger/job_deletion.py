"""Deletes jobs.

A deletion is a job event: once it is committed, nobody can read the job. The projector erases the job's rows and objects
afterwards, and repeats this after a crash, so no data of a deleted job remain.
"""

from __future__ import annotations

import asyncio
from typing import Final

import polars as pl

from lakehouse.ledger import job_states
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup, not_found
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.webhooks.outbox import Outbox
from schemas.domain import Job, JobStatus
from schemas.errors import NotFound

_AT_ONCE: Final = 1000
"""Jobs deleted together: their events share commits."""


class JobDeletion:
    """Deletes jobs of an account. The contract is `JobLedger`."""

    def __init__(
        self, clock: Clock, tasks: ChangeTasks, store: JobStore, live: LiveJobs, lookup: JobLookup, outbox: Outbox
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._tasks = tasks
        self._store = store
        self._live = live
        self._lookup = lookup

    async def delete(self, account: str, job_id: int) -> Job:
        """See `JobLedger.delete`."""
        return await self._tasks.run(self._delete(account, job_id))

    async def delete_all(self, account: str) -> None:
        """Delete all jobs of an account. Their rows and objects are erased after the call."""
        found = {job.id: job for job in await self._lookup.matching(account, pl.lit(True))}
        remaining = [job for job in found.values() if not self._lookup.is_gone(job)]
        for first in range(0, len(remaining), _AT_ONCE):
            jobs = remaining[first : first + _AT_ONCE]
            await asyncio.gather(*(self._tasks.run(self._delete_found(job)) for job in jobs))

    async def _delete_found(self, job: Job) -> None:
        try:
            await self._delete_entry(job)
        except NotFound:
            pass  # The job was deleted meanwhile.

    async def _delete(self, account: str, job_id: int) -> Job:
        job = await self._lookup.owned(account, job_id)
        return await self._delete_entry(job)

    async def _delete_entry(self, job: Job) -> Job:
        entry = self._live.get(job.id) or self._live.add(job)
        before = entry.job
        gone = await self._store.delete(entry, self._deleted)
        if before.status not in (JobStatus.COMPLETED, JobStatus.FAILED):
            self._outbox.on_job_gone(before)  # results of completed jobs are sent even if the job was deleted since
        return gone

    def _deleted(self, job: Job) -> Job:
        # Two deletions may wait for one lock.
        if job.status is JobStatus.DELETED:
            raise not_found(job.id)
        return job_states.deleted(job, self._clock.utc())
