"""What the ledger answers about jobs: live ones from memory, laid over the ``transcriptions`` table."""

from __future__ import annotations

import asyncio

from lakehouse.commits import TableWriter
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.live import LiveJobs
from lakehouse.reads import TranscriptionReader
from schemas.domain import Job, JobStatus


class JobView:
    """Reads see every change that was acknowledged before they asked."""

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

    async def page(self, account: str, limit: int, offset: int) -> tuple[int, list[Job]]:
        """(exact total, page) of an account's jobs, newest first."""
        # Memory, version and next id are taken in one step, so a job that reaches the table during the read counts once.
        live = self._live.of_account(account)
        # Live jobs push a stored one back by at most len(live) places: read from that much earlier, merge, then cut.
        start = max(0, offset - len(live))
        length = offset + limit - start
        exclude = {job.id for job in live}
        total, stored = await asyncio.to_thread(
            self.reader.page, account, self._ids.next_id, exclude, start, length, self._finished.version
        )
        shown = [job for job in live if job.status is not JobStatus.DELETED]
        merged = sorted([*shown, *stored], key=lambda job: job.id, reverse=True)
        return total + len(shown), merged[offset - start : offset - start + limit]
