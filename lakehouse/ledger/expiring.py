"""Taking back the leases of workers that fell silent."""

from __future__ import annotations

import logging

from lakehouse.ledger import jobs
from lakehouse.ledger.archives import ArchiveRunning
from schemas.domain import Job
from schemas.errors import Unavailable

log = logging.getLogger(__name__)


class LeaseExpiring(ArchiveRunning):
    """Part of `lakehouse.ledger.Ledger`."""

    async def attend(self) -> None:
        """Workers can speak through whoever says this; it is said again and again. See `Leases.attend`."""
        self._leases.attend()

    async def expire_leases(self) -> None:
        """Take back every lease that ran out. A task does this all the time."""
        for job_id, lease in self._leases.all_ended():
            # Taking back those before it took time, in which it may have been renewed.
            if not self._leases.ended(job_id, lease):
                continue
            if self._expire_revision(job_id, lease):
                continue
            try:
                await self._change(job_id, lambda job, lease=lease: self._expired(job, lease))
            except Unavailable:
                log.warning("the lease on job %d could not be taken back; trying again", job_id)
        self._archives.flush_soon()

    def _expired(self, job: Job, lease: str) -> Job:
        if not self._leases.ended(job.id, lease):
            return job
        taken_up = self._leases.was_taken_up(job.id)
        return jobs.expired(job, lease, self._clock.utc(), self._settings.max_attempts, taken_up=taken_up)

    async def _expire_forever(self) -> None:
        while True:
            await self._clock.sleep(min(1.0, self._settings.lease_secs / 4))
            try:
                await self.expire_leases()
            except Exception:
                log.exception("taking back leases failed")
