"""The queue of waiting jobs, oldest first, and the workers that wait for a job."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque


class JobQueue:
    """Ids of submitted jobs. Lower ids are older, so a job that is returned goes to the front."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._waiting: deque[tuple[str, asyncio.Future[int]]] = deque()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def oldest(self) -> int | None:
        """The oldest waiting id, which stays in the queue; None if the queue is empty."""
        return self._ids[0] if self._ids else None

    def waiting_worker(self, place: int) -> str | None:
        """The name of the waiting worker that gets an id after ``place`` others; None if there is no such worker."""
        waiting = [worker for worker, waiter in self._waiting if not waiter.done()]
        return waiting[place] if place < len(waiting) else None

    def put(self, job_id: int) -> None:
        """Add an id; the worker that waited longest gets the oldest."""
        heapq.heappush(self._ids, job_id)
        while self._ids and self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(heapq.heappop(self._ids))

    async def take(self, wait_secs: float, worker: str = "") -> int | None:
        """Remove and return the oldest id, for ``worker``; None if there is none within ``wait_secs``.

        Each id goes to exactly one caller, also if a caller is cancelled.
        """
        if self._ids:
            return heapq.heappop(self._ids)
        if wait_secs <= 0:
            return None
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((worker, waiter))
        try:
            await asyncio.wait([waiter], timeout=wait_secs)
        except asyncio.CancelledError:
            if waiter.done():
                self.put(waiter.result())
            raise
        finally:
            if not waiter.done():
                self._waiting.remove((worker, waiter))
        return waiter.result() if waiter.done() else None
