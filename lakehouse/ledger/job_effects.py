"""Applies a committed job event to the ledger's memory."""

from __future__ import annotations

from lakehouse.ledger.account_loads import AccountLoads
from lakehouse.ledger.account_shares import AccountShares
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.change_feed import ChangeFeed
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.progress import ProgressBoard
from lakehouse.ledger.projection import Finished, Projector
from lakehouse.ledger.queue import JobQueue
from lakehouse.ledger.result_cache import ResultCache
from lakehouse.ledger.webhooks.outbox import Outbox
from schemas.domain import Job, JobStatus, Transcript


class JobEffects:
    """Passes a committed event to readers, archive runs, watchers, leases, queue, cache, webhooks, limits and projector."""

    def __init__(
        self,
        feed: ChangeFeed,
        guard: ObjectGuard,
        archives: ArchiveStore,
        board: ProgressBoard,
        leases: Leases,
        queue: JobQueue,
        cache: ResultCache,
        projector: Projector,
        outbox: Outbox,
        loads: AccountLoads,
        shares: AccountShares,
    ) -> None:
        self._feed = feed
        self._guard = guard
        self._archives = archives
        self._board = board
        self._leases = leases
        self._queue = queue
        self._cache = cache
        self._projector = projector
        self._outbox = outbox
        self._loads = loads
        self._shares = shares

    def apply(self, seq: int, job: Job, transcript: Transcript | None = None) -> None:
        """Apply event ``seq``, which brought ``job`` to its present state.

        Must follow the event's commit without an await.
        """
        self._feed.on_job_committed(job)
        self._guard.on_job_committed(job)
        self._archives.on_job_committed(job)
        self._archives.flush_soon()
        self._board.on_status_changed(job.id)
        self._loads.on_job_committed(job)
        self._shares.on_job_committed(job)
        if job.status is JobStatus.SUBMITTED:
            self._leases.drop(job.id)
            if job.archive_id is None:
                self._queue.put(job.id)
        elif job.status is JobStatus.PROCESSING:
            # A worker of the queue makes its first request at once. A worker of an archive may first process other files
            # of the batch.
            secs = self._leases.first_use_secs if job.archive_id is None else None
            self._leases.grant(job.id, job.worker or "", secs)
        else:
            self._leases.drop(job.id)
            if job.status is JobStatus.COMPLETED and not job.cached:
                self._cache.add(job)
            self._outbox.on_job_final(job)
            self._projector.add(Finished(seq, job, transcript))
