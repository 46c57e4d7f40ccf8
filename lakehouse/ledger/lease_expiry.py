"""Revokes the leases of workers that stopped renewing them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from lakehouse.ledger import job_states
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.leases import Leases
from schemas.domain import Job
from schemas.errors import Unavailable
from schemas.settings import JobSettings

log = logging.getLogger(__name__)


class LeaseExpiry:
    """Returns jobs whose lease expired to the queue, or fails them after their last attempt.

    ``expire_revision`` revokes the lease on a pending revision, which has no job event; False if the lease is not on a
    revision.
    """

    def __init__(
        self,
        settings: JobSettings,
        clock: Clock,
        store: JobStore,
        leases: Leases,
        archives: ArchiveStore,
        expire_revision: Callable[[int, str], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._leases = leases
        self._archives = archives
        self._expire_revision = expire_revision
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for expired leases until `close`, at least once a second."""
        self._task = asyncio.create_task(self._run(), name="lease-expiry")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def gateway_alive(self) -> None:
        """See `JobLedger.gateway_alive`."""
        self._leases.gateway_alive()

    async def expire(self) -> None:
        """Revoke every expired lease."""
        for job_id, lease in self._leases.all_expired():
            # Revoking the leases before took time, in which this lease may have been renewed.
            if not self._leases.is_expired(job_id, lease):
                continue
            if self._expire_revision(job_id, lease):
                continue
            try:
                await self._store.change(job_id, partial(self._expired, lease=lease))
            except Unavailable:
                log.warning("the lease on job %d could not be revoked; trying again", job_id)
        self._archives.flush_soon()

    def _expired(self, job: Job, *, lease: str) -> Job:
        if not self._leases.is_expired(job.id, lease):
            return job
        was_used = self._leases.was_used(job.id)
        return job_states.expired(job, lease, self._clock.utc(), self._settings.max_attempts, was_used=was_used)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(min(1.0, self._settings.lease_secs / 4))
            try:
                await self.expire()
            except Exception:
                log.exception("revoking leases failed")
