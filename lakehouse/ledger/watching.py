"""What clients do with a job under way: see how far it is, wait for what comes next, stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakehouse.ledger import jobs
from lakehouse.ledger.editing import JobEditing
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.progress import Mark, ProgressBoard, Watched
from schemas.domain import Job, JobStatus, Progress, Segment
from schemas.errors import NotFound

_STARTING = Progress("starting")


class JobWatching(JobEditing):
    """Part of `lakehouse.ledger.Ledger`."""

    _leases: Leases

    def __init__(self) -> None:
        super().__init__()
        self._board = ProgressBoard()

    async def _change(self, job_id: int, change: Any) -> Job:
        raise NotImplementedError

    async def cancel_job(self, account: str, job_id: int) -> Job:
        """Stop a job for good. One cancelled before stays as it is. Raises NotFound, Conflict(code="already_final")."""
        await self._mine(account, job_id)
        return await self._change(job_id, lambda job: jobs.cancelled(job, self._clock.utc()))

    async def leased_job(self, job_id: int, lease: str) -> Job:
        """The job a lease is for. The holder's first word extends the lease, later ones do not.

        Raises Conflict(code="lease_lost"), NotFound.
        """
        self._refuse_deleted(job_id)
        job = await self._view.job(job_id)
        if job is None:
            raise NotFound(f"no job {job_id}", code="job_not_found")
        jobs.check_lease(job, lease)
        self._leases.take_up(job_id, lease)
        return job

    async def report(
        self, job_id: int, lease: str, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        """A worker says how far it is, and the segments of blocks it finished; gives how many blocks are known here.

        Raises Conflict(code="lease_lost"), NotFound.
        """
        await self.leased_job(job_id, lease)
        return self._board.report(job_id, progress, first_block, blocks)

    async def watch(self, account: str, job_id: int, first_block: int, last: Mark | None, wait_secs: float) -> Watched:
        """The job once it is not as it was at ``last``, or after ``wait_secs``. Raises NotFound."""
        seen = await self._watched(account, job_id, first_block)
        if seen.mark != last or seen.status.is_final or wait_secs <= 0:
            return seen
        await self._board.wait(job_id, wait_secs)
        return await self._watched(account, job_id, first_block)

    async def _watched(self, account: str, job_id: int, first_block: int) -> Watched:
        job = await self._mine(account, job_id)
        progress, blocks, number = self._board.find(job_id, first_block)
        if job.status is not JobStatus.PROCESSING:
            return Watched(job.status, None)
        return Watched(job.status, progress or _STARTING, blocks, number)

    async def _mine(self, account: str, job_id: int) -> Job:
        job = await self._view.job(job_id) if job_id not in self._deleted else None
        if job is None or job.account != account or job.status is JobStatus.DELETED:
            raise NotFound(f"there is no transcription {job_id} in your account", param="id")
        return job

    def _told(self, job: Job) -> None:
        """The job changed its status: what was said of the attempt before means nothing any more."""
        self._board.forget(job.id)
        self._board.wake(job.id)
