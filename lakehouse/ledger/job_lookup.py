"""The ledger's own reads of jobs: live and recent jobs from memory, others from ``transcriptions``."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable

import polars as pl

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.retained import Retained
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.row_mapping import job_from_row
from lakehouse.tables.table_reader import TranscriptionReader
from schemas.domain import Job, JobStatus
from schemas.errors import Conflict, NotFound

RECENT_JOBS = Retained(least=1024, most=4096, secs=600.0)
"""Finished jobs that are held, because clients ask for a job soon after it has ended."""


class JobLookup:
    """Finds jobs by id, by account and by condition.

    Recent jobs are those that were finished or requested last. Finding any other job in the table takes milliseconds.
    """

    def __init__(self, live: LiveJobs, finished: TableWriter, ids: Allocator, clock: Clock) -> None:
        self.deleted: set[int] = set()
        """Ids of jobs that were deleted since the ledger was opened. An id is added just before its deletion is
        committed.
        """
        self._live = live
        self._finished = finished
        self._ids = ids
        self._clock = clock
        self._recent: OrderedDict[int, tuple[Job, float]] = OrderedDict()
        """Each with the monotonic time at which it was finished or requested."""
        self._projections = 0
        self._table = finished.reader()
        self._reader = TranscriptionReader(finished.reader())

    async def job(self, job_id: int) -> Job | None:
        """The job as last committed, of any account."""
        entry = self._live.get(job_id)
        if entry is not None:
            return entry.job
        if not 0 < job_id < self._ids.next_id:
            return None
        if job_id in self._recent:
            recent, _ = self._recent[job_id]
            self._remember(recent)
            return recent
        projections = self._projections
        job = await asyncio.to_thread(self._reader.job, job_id, self._finished.version)
        # A state that was projected in the meantime may be newer than the state that was read.
        if job is not None and projections == self._projections:
            self._remember(job)
        return job

    async def owned(self, account: str, job_id: int) -> Job:
        """The job of an account. Raises NotFound if it does not exist, is another account's, or was deleted."""
        job = await self.job(job_id) if job_id not in self.deleted else None
        if job is None or job.account != account or job.status is JobStatus.DELETED:
            raise not_found(job_id)
        return job

    async def jobs(self, job_ids: Collection[int]) -> dict[int, Job]:
        """The jobs that exist of ``job_ids``, by id, with one read of the table."""
        live = {job_id: entry.job for job_id in job_ids if (entry := self._live.get(job_id)) is not None}
        rest = [job_id for job_id in job_ids if job_id not in live]
        stored = await asyncio.to_thread(self._reader.jobs, rest, self._finished.version) if rest else {}
        return stored | live

    async def matching(self, account: str, condition: pl.Expr) -> list[Job]:
        """Every revision in an account's table for which ``condition`` holds, and all of its jobs in memory."""
        # Memory is read first, so a job that reaches the table meanwhile is seen twice and never missed.
        live = self._live.of_account(account)
        frame = await asyncio.to_thread(
            self._table.collect, lambda table: table.filter(pl.col("account") == account, condition), self._finished.version
        )
        return [*(job_from_row(row) for row in frame.iter_rows(named=True)), *live]

    async def submitted_as(self, account: str, submission: str | None) -> Job | None:
        """The job that this ``submission`` of the account made, however long ago; None if it made none."""
        found = await self.matching(account, pl.col("import_key") == submission)
        return next((job for job in reversed(found) if job.import_key == submission and not self.is_gone(job)), None)

    async def cacheable(self) -> pl.DataFrame:
        """The rows for `ResultCache.load`: one for each completed job that was not answered from the cache."""
        return await asyncio.to_thread(self._reader.cacheable, self._finished.version)

    async def of_archives(self, archive_ids: Collection[int]) -> list[Job]:
        """Newest revisions that archive runs made, from the table and from memory; a job may be in both."""
        live = [entry.job for entry in self._live if entry.job.archive_id in archive_ids]
        stored = await asyncio.to_thread(self._reader.of_archives, archive_ids, self._finished.version)
        return [*stored, *live]

    def is_gone(self, job: Job) -> bool:
        """Whether the job was deleted."""
        entry = self._live.get(job.id)
        return job.id in self.deleted or (entry is not None and entry.job.status is JobStatus.DELETED)

    def refuse_deleted(self, job_id: int) -> None:
        """Raises Conflict(code="lease_lost") for a deleted job, so that its worker stops instead of reporting an error."""
        if job_id in self.deleted:
            raise Conflict(f"job {job_id} was deleted", code="lease_lost")

    def on_projected(self, projected: Iterable[Job]) -> None:
        """Drop live jobs from memory that are in ``transcriptions`` now, or erased from it."""
        for job in projected:
            entry = self._live.get(job.id)
            # A job that was deleted meanwhile is still in the table, so memory must still hide it. A job with a newer
            # revision must still be shown from memory.
            if entry is not None and (entry.job.status, entry.job.revision) == (job.status, job.revision):
                self._projections += 1
                if job.status is JobStatus.DELETED:
                    self._recent.pop(job.id, None)
                else:
                    self._remember(job)
                self._live.remove(job.id)

    def _remember(self, job: Job) -> None:
        now = self._clock.monotonic()
        self._recent[job.id] = job, now
        self._recent.move_to_end(job.id)
        while RECENT_JOBS.drops(len(self._recent), now - next(iter(self._recent.values()))[1]):
            self._recent.popitem(last=False)


def not_found(job_id: int) -> NotFound:
    """The error for a job that an account does not have."""
    return NotFound(f"there is no transcription {job_id} in your account", param="id")
