"""Any job by its id, as the ledger itself needs it: live ones from memory, the rest from ``transcriptions``."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from lakehouse.commits import TableWriter
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.live import LiveJobs
from lakehouse.reads import TranscriptionReader
from schemas.domain import Job


class JobView:
    """See the module."""

    def __init__(self, live: LiveJobs, finished: TableWriter, ids: Allocator) -> None:
        self._live = live
        self._finished = finished
        self._ids = ids
        self.reader = TranscriptionReader(finished.uri)

    async def job(self, job_id: int) -> Job | None:
        """The job as last committed, whoever owns it."""
        entry = self._live.get(job_id)
        if entry is not None:
            return entry.job
        if not 0 < job_id < self._ids.next_id:
            return None
        return await asyncio.to_thread(self.reader.job, job_id, self._finished.version)

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those there are of many, by id, in one reading."""
        live = {job_id: entry.job for job_id in job_ids if (entry := self._live.get(job_id)) is not None}
        rest = [job_id for job_id in job_ids if job_id not in live]
        stored = await asyncio.to_thread(self.reader.jobs, rest, self._finished.version) if rest else {}
        return stored | live
