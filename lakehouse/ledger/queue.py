"""Waiting jobs, oldest first, and the workers that wait for one."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque


class JobQueue:
    """Ids of submitted jobs. Lower ids are older, so a job that comes back goes to the front."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._waiting: deque[asyncio.Future[int]] = deque()

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, job_id: int) -> None:
        """Add an id; the worker that waited longest gets the oldest."""
        heapq.heappush(self._ids, job_id)
        while self._ids and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(heapq.heappop(self._ids))

    async def take(self, wait_secs: float) -> int | None:
        """The oldest id, or None when none came within ``wait_secs``. An id is given to one caller, and never lost."""
        if self._ids:
            return heapq.heappop(self._ids)
        if wait_secs <= 0:
            return None
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=wait_secs)
        except asyncio.CancelledError:
            if waiter.done():
                self.put(waiter.result())
            raise
        finally:
            if not waiter.done():
                self._waiting.remove(waiter)
        return waiter.result() if waiter.done() else None
