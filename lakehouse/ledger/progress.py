"""How far work on a job is and what it has found so far: what clients are told before the job is done.

In memory only. A worker tells it again after a restart of the ledger, with the blocks that are missing here. Watchers wait
for a change instead of asking again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from schemas.domain import JobStatus, Progress, Segment

Mark: TypeAlias = tuple[JobStatus, int]
"""What a watcher saw last: only whether it is still the same means anything."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A job as a watcher sees it; ``blocks`` are the segments of finished blocks, from the one that was asked for."""

    status: JobStatus
    progress: Progress | None
    blocks: tuple[tuple[Segment, ...], ...] = ()
    change: int = 0

    @property
    def mark(self) -> Mark:
        return self.status, self.change


@dataclass(slots=True)
class _Entry:
    progress: Progress
    blocks: list[tuple[Segment, ...]] = field(default_factory=list)


class ProgressBoard:
    """By job id. Whoever waits for a job is woken when it is reported on or changes its status."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._changes = 0
        self._changed: dict[int, int] = {}
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}

    def report(self, job_id: int, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]) -> int:
        """Take in a report; how many blocks are known now. Blocks that would leave a hole are left out."""
        entry = self._entries.setdefault(job_id, _Entry(progress))
        entry.progress = progress
        known = len(entry.blocks)
        if first_block <= known:
            entry.blocks += blocks[known - first_block :]
        self.wake(job_id)
        return len(entry.blocks)

    def find(self, job_id: int, first_block: int) -> tuple[Progress | None, tuple[tuple[Segment, ...], ...], int]:
        """Progress, blocks from ``first_block`` and the number of the last change."""
        entry = self._entries.get(job_id)
        change = self._changed.get(job_id, 0)
        return (entry.progress, tuple(entry.blocks[first_block:]), change) if entry else (None, (), change)

    def forget(self, job_id: int) -> None:
        """An attempt is over: the next one starts from nothing."""
        self._entries.pop(job_id, None)
        self._changed.pop(job_id, None)

    def wake(self, job_id: int) -> None:
        self._changes += 1
        if job_id in self._entries:
            self._changed[job_id] = self._changes
        for waiter in self._waiting.pop(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, job_id: int, secs: float) -> None:
        """Until the job changes, or ``secs`` have passed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(waiter)
        try:
            await asyncio.wait([waiter], timeout=secs)
        finally:
            mine = self._waiting.get(job_id)
            if mine is not None:
                mine.discard(waiter)
                if not mine:
                    del self._waiting[job_id]
