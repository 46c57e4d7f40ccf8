"""Unfinished jobs: workers report progress, clients follow the progress or cancel."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.ledger import job_states
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.progress import ProgressBoard, Watched, WatchToken
from schemas.domain import Job, JobStatus, Progress, Seconds, Segment
from schemas.errors import NotFound

_STARTING = Progress("starting")


class JobWatch:
    """Progress, cancellation, and the job a lease is for. The contract is `JobLedger`."""

    def __init__(
        self,
        clock: Clock,
        store: JobStore,
        lookup: JobLookup,
        leases: Leases,
        board: ProgressBoard,
        archives: ArchiveStore,
    ) -> None:
        self._clock = clock
        self._store = store
        self._lookup = lookup
        self._leases = leases
        self._board = board
        self._archives = archives

    async def cancel(self, account: str, job_id: int) -> Job:
        """See `JobLedger.cancel`."""
        await self._lookup.owned(account, job_id)
        return await self._store.change(job_id, lambda job: job_states.cancelled(job, self._clock.utc()))

    async def leased(self, job_id: int, lease: str) -> Job:
        """See `JobLedger.leased`. A pending revision is returned as it will be, because no table has it yet."""
        found = self._archives.pending_revision(job_id)
        if found is not None and found[1].worker == lease:
            self._leases.record_use(job_id, lease)
            return found[1]
        self._lookup.refuse_deleted(job_id)
        job = await self._lookup.job(job_id)
        if job is None:
            raise NotFound(f"no job {job_id}", code="job_not_found")
        job_states.check_lease(job, lease)
        self._leases.record_use(job_id, lease)
        return job

    async def report(
        self, job_id: int, lease: str, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        """See `JobLedger.report`."""
        await self.leased(job_id, lease)
        return self._board.report(job_id, progress, first_block, blocks)

    async def watch(
        self, account: str, job_id: int, first_block: int, last: WatchToken | None, wait_secs: Seconds
    ) -> Watched:
        """See `JobLedger.watch`."""
        found = await self._watched(account, job_id, first_block)
        if found.watch_token != last or found.status.is_final or wait_secs <= 0:
            return found
        await self._board.wait(job_id, wait_secs)
        return await self._watched(account, job_id, first_block)

    async def _watched(self, account: str, job_id: int, first_block: int) -> Watched:
        job = await self._lookup.owned(account, job_id)
        progress, blocks, number = self._board.find(job_id, first_block)
        if job.status is not JobStatus.PROCESSING:
            return Watched(job.status, None, ended=job if job.status.is_final else None, job=job)
        return Watched(job.status, progress or _STARTING, blocks, number, job=job)
