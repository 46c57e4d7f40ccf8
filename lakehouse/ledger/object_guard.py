"""Decides which objects may be removed, because deletion and maintenance run while new jobs that name objects are
committed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import job_keys, main_key
from schemas.domain import Job
from schemas.errors import Unavailable


class ObjectGuard:
    """Used on the ledger's event loop. ``check_lock`` is called before an orphan is removed; it forbids by raising."""

    def __init__(self, objects: Objects, live: LiveJobs, check_lock: Callable[[], None]) -> None:
        self._objects = objects
        self._live = live
        self._check_lock = check_lock
        self._removal = asyncio.Lock()
        self._needed: set[str] | None = None
        self._removed: set[str] = set()
        self._admitted: Counter[str] = Counter()

    @asynccontextmanager
    async def admitting(self, audio_key: str) -> AsyncIterator[None]:
        """Held while a job that names the recording is committed.

        Guarantees that the recording was not removed since its upload, and is not removed within the block. Raises
        Unavailable(code="lost_upload") if it was removed: the client must send it again.
        """
        if audio_key in self._removed:
            async with self._removal:
                if not await self._objects.exists(audio_key):
                    raise Unavailable(
                        "the recording was removed as unused while it arrived; send it again", code="lost_upload"
                    )
                self._removed.discard(audio_key)
        self._admitted[audio_key] += 1
        try:
            yield
        finally:
            self._admitted[audio_key] -= 1
            if not self._admitted[audio_key]:
                del self._admitted[audio_key]

    async def erase(self, audio_key: str, unneeded: Callable[[], Awaitable[set[str]]]) -> None:
        """Remove the ``unneeded`` objects of a deleted job with this recording, except those of jobs being committed."""
        async with self._removal:
            # Record the removal before deleting, so jobs admitted later see it and wait. Jobs admitted before are counted
            # among the admitted, or are in memory.
            if audio_key:  # the key is empty for a job that never had a recording
                self._removed.add(audio_key)
            admitted = set(self._admitted)
            for key in await unneeded() - admitted:
                await self._objects.delete(key)

    @contextmanager
    def finding_orphans(self) -> Iterator[None]:
        """Held during a search for orphans.

        `remove_orphan` spares the objects of live jobs and of jobs committed within the block.
        """
        self._needed = set()
        for entry in self._live:
            self.on_job_committed(entry.job)
        try:
            yield
        finally:
            self._needed = None

    def on_job_committed(self, job: Job) -> None:
        """During a search for orphans, record that the job needs its objects."""
        if self._needed is not None:
            self._needed |= job_keys(job) | {job.sha256}

    async def remove_orphan(self, key: str) -> bool:
        """Remove an object that no row named when the tables were read; False if a job needs it by now."""
        self._check_lock()
        async with self._removal:
            # No await between the check and the record of the removal: a job that is committed later sees the record.
            stem = key.rpartition("/")[2].partition(".")[0]
            if self._needed is None or main_key(key) in self._needed or stem in self._needed or key in self._admitted:
                return False
            if key.startswith("audio/"):
                self._removed.add(key)
            await self._objects.delete(key)
        return True
