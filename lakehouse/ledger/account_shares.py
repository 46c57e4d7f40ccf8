"""Limits the jobs of one account that are processed at once. Further jobs wait until one of them ends."""

from __future__ import annotations

import heapq

from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.queue import JobQueue
from schemas.domain import Job, JobStatus


class AccountShares:
    """Holds back waiting jobs of accounts with ``most`` processing jobs; 0 for no limit.

    Jobs of archive runs do not count.
    """

    def __init__(self, most: int, queue: JobQueue, live: LiveJobs) -> None:
        self._most = most
        self._queue = queue
        self._live = live
        self._running: dict[str, set[int]] = {}
        self._held: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """Number of jobs that are held back."""
        return sum(map(len, self._held.values()))

    @property
    def oldest(self) -> int | None:
        """The oldest job that is held back; None if there is none."""
        return min((held[0] for held in self._held.values() if held), default=None)

    def take(self, job: Job) -> bool:
        """Whether a waiting job may start now. If not, the job is held back and returned to the queue later."""
        if self.reserve(job):
            return True
        heapq.heappush(self._held.setdefault(job.account, []), job.id)
        return False

    def reserve(self, job: Job) -> bool:
        """Whether a job may start as soon as it is committed. If so, `give_back` must be called unless it starts."""
        if not self._most:
            return True
        running = self._running.get(job.account, set())
        if len(running) >= self._most:
            return False
        self._running.setdefault(job.account, running).add(job.id)
        return True

    def give_back(self, job: Job) -> None:
        """Report that a job did not start or has stopped, so the next job of its account may start."""
        if not self._most:
            return
        running = self._running.get(job.account, set())
        running.discard(job.id)
        if not running:
            self._running.pop(job.account, None)
        held, free = self._held.get(job.account, []), self._most - len(running)
        while held and free > 0:
            entry = self._live.get(heapq.heappop(held))
            if entry is not None and entry.job.status is JobStatus.SUBMITTED:
                self._queue.put(entry.job.id)
                free -= 1
        if not held:
            self._held.pop(job.account, None)

    def on_job_committed(self, job: Job) -> None:
        """Apply a job's new state."""
        if not self._most or job.archive_id is not None:
            return
        if job.status is JobStatus.PROCESSING:
            self._running.setdefault(job.account, set()).add(job.id)
        else:
            self.give_back(job)
