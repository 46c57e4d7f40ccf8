"""Any job by its id, as the ledger itself needs it: live and recent ones from memory, the rest from ``transcriptions``."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection

from lakehouse.commits import TableWriter
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.live import LiveJobs
from lakehouse.reads import TranscriptionReader
from schemas.domain import Job, JobStatus

_RECENT_JOBS = 4096


class JobView:
    """See the module. Recent ones are those that were finished or asked for last: to find one in the table takes ms."""

    def __init__(self, live: LiveJobs, finished: TableWriter, ids: Allocator) -> None:
        self._live = live
        self._finished = finished
        self._ids = ids
        self._recent: OrderedDict[int, Job] = OrderedDict()
        self._projections = 0
        self.reader = TranscriptionReader(finished.uri)

    async def job(self, job_id: int) -> Job | None:
        """The job as last committed, whoever owns it."""
        entry = self._live.get(job_id)
        if entry is not None:
            return entry.job
        if not 0 < job_id < self._ids.next_id:
            return None
        if job_id in self._recent:
            self._recent.move_to_end(job_id)
            return self._recent[job_id]
        projections = self._projections
        job = await asyncio.to_thread(self.reader.job, job_id, self._finished.version)
        # What was projected in the meantime may be newer than what was read.
        if job is not None and projections == self._projections:
            self._keep(job)
        return job

    def projected(self, job: Job) -> None:
        """The job is in ``transcriptions`` as it is here, or erased from it, and is about to leave the live ones."""
        self._projections += 1
        if job.status is JobStatus.DELETED:
            self._recent.pop(job.id, None)
        else:
            self._keep(job)

    def _keep(self, job: Job) -> None:
        self._recent[job.id] = job
        self._recent.move_to_end(job.id)
        if len(self._recent) > _RECENT_JOBS:
            self._recent.popitem(last=False)

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those there are of many, by id, in one reading."""
        live = {job_id: entry.job for job_id in job_ids if (entry := self._live.get(job_id)) is not None}
        rest = [job_id for job_id in job_ids if job_id not in live]
        stored = await asyncio.to_thread(self.reader.jobs, rest, self._finished.version) if rest else {}
        return stored | live
