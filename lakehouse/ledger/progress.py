"""Progress of unfinished jobs, and their segments so far, for clients that follow a job.

Held in memory only. After a restart of the ledger, workers report progress again, with the blocks that the ledger lacks.
Watchers wait for a change instead of polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from schemas.domain import Job, JobStatus, Progress, Segment

WatchToken: TypeAlias = tuple[JobStatus, int]
"""The state that a watcher last saw. Tokens are only compared for equality."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A job as a watcher sees it. ``blocks`` are the segments of finished blocks, from the requested block on.

    ``change`` numbers the last report, and is 0 before the first.
    """

    status: JobStatus
    progress: Progress | None
    blocks: tuple[tuple[Segment, ...], ...] = ()
    change: int = 0
    ended: Job | None = None
    """The job, once it is over."""
    job: Job = field(kw_only=True)
    """The job as it is."""

    @property
    def watch_token(self) -> WatchToken:
        """The value of ``last`` for the next `JobLedger.watch`."""
        return self.status, self.change


@dataclass(slots=True)
class _Entry:
    progress: Progress
    blocks: list[tuple[Segment, ...]] = field(default_factory=list)


class ProgressBoard:
    """Progress by job id. Watchers of a job are woken by a report and by a change of its status."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._changes = 0
        self._changed: dict[int, int] = {}
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}

    def report(self, job_id: int, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]) -> int:
        """Store a report, and return the number of known blocks. Blocks that would leave a gap are ignored."""
        entry = self._entries.setdefault(job_id, _Entry(progress))
        entry.progress = progress
        known = len(entry.blocks)
        if first_block <= known:
            entry.blocks += blocks[known - first_block :]
        self._wake(job_id)
        return len(entry.blocks)

    def find(self, job_id: int, first_block: int) -> tuple[Progress | None, tuple[tuple[Segment, ...], ...], int]:
        """Progress, blocks from ``first_block`` and the number of the last change."""
        entry = self._entries.get(job_id)
        change = self._changed.get(job_id, 0)
        return (entry.progress, tuple(entry.blocks[first_block:]), change) if entry else (None, (), change)

    def on_status_changed(self, job_id: int) -> None:
        """Drop the progress of the ended attempt, and wake the job's watchers."""
        self._entries.pop(job_id, None)
        self._changed.pop(job_id, None)
        self._wake(job_id)

    def _wake(self, job_id: int) -> None:
        self._changes += 1
        if job_id in self._entries:
            self._changed[job_id] = self._changes
        for waiter in self._waiting.pop(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, job_id: int, secs: float) -> None:
        """Wait until the job changes, or ``secs`` have passed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(waiter)
        try:
            await asyncio.wait([waiter], timeout=secs)
        finally:
            others = self._waiting.get(job_id)
            if others is not None:
                others.discard(waiter)
                if not others:
                    del self._waiting[job_id]
