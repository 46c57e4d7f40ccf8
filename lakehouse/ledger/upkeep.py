"""The maintenance of one ledger: its tasks, one at a time, in the ledger's own process."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lakehouse.commits import TableWriter
from lakehouse.durable import fsync_path
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.live import LiveJobs
from lakehouse.location import Location
from lakehouse.maintenance.files import Exchange
from lakehouse.maintenance.merge import MergePolicy, merge_step
from lakehouse.maintenance.orphans import remove_orphans
from lakehouse.maintenance.retention import forget_events
from lakehouse.maintenance.revisions import forget_revisions, superseded
from lakehouse.maintenance.vacuum import vacuum
from lakehouse.objects import Objects
from lakehouse.results import job_keys, main_key
from schemas.domain import Job
from schemas.errors import InvalidParameter, Unavailable
from schemas.settings import Settings

log = logging.getLogger(__name__)

TASKS = ("merge", "retention", "checkpoint", "vacuum", "orphans")
"""In the order in which `all` does them."""
LOST_EXCHANGES = 3
"""How often a table may change under a merge before the rest is left to the next run."""

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What a run did: how many of what, and how long it took."""

    task: str
    counts: Counts
    secs: float


class Maintenance:
    """Used on the ledger's event loop. Tasks raise Unavailable when a table cannot be written; all may be repeated."""

    def __init__(
        self,
        settings: Settings,
        writers: Mapping[str, TableWriter],
        live: LiveJobs,
        clock: Clock,
        guard: Callable[[], None],
        policy: MergePolicy | None = None,
    ) -> None:
        self._settings = settings.storage
        self._location = Location.of(settings)
        self._objects = Objects.of(settings)
        self._writers = writers
        self._live = live
        self._clock = clock
        self._guard = guard
        self._policy = policy or MergePolicy()
        self._lock = asyncio.Lock()
        self._removal = asyncio.Lock()
        self._running: dict[str, asyncio.Task[MaintenanceReport]] = {}
        self._needed: set[str] | None = None
        self._removed: set[str] = set()
        self._admitted: Counter[str] = Counter()
        self._work: dict[str, Callable[[], Awaitable[Counts]]] = {
            "merge": self._merge,
            "retention": self._retention,
            "checkpoint": self._checkpoint,
            "vacuum": self._vacuum,
            "orphans": self._orphans,
        }

    async def run(self, task: str, wait_secs: float) -> MaintenanceReport | None:
        """Start ``task``, or join it when it runs; None if it is not done within ``wait_secs``: then ask again."""
        if task != "all" and task not in self._work:
            raise InvalidParameter(f"there is no maintenance {task!r}; use {', '.join(TASKS)} or all", param="task")
        running = self._running.get(task)
        if running is None:
            running = self._running[task] = asyncio.create_task(self._run(task), name=f"maintenance-{task}")
        done, _ = await asyncio.wait([running], timeout=wait_secs)
        if not done:
            return None
        # Whoever joined gets the same answer; the next to ask starts it anew.
        if self._running.get(task) is running:
            del self._running[task]
        return running.result()

    async def close(self) -> None:
        """Stop after the step under way; what is not committed is left to the next run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def saw(self, job: Job) -> None:
        """Take note of a committed job: while orphans are looked for, its objects are none."""
        if self._needed is not None:
            self._needed |= job_keys(job) | {job.sha256}

    @asynccontextmanager
    async def admitting(self, audio_key: str) -> AsyncIterator[None]:
        """While a job that names the recording is being committed: it was not removed since its upload, and will not be.

        Raises Unavailable: the recording must be sent again.
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

    async def erase(self, job: Job, needless: Callable[[Job], Awaitable[set[str]]]) -> None:
        """Remove the objects that only a deleted job needed, counting the jobs that are being committed."""
        async with self._removal:
            # The note first: who is admitted later meets it and waits. Who was admitted before is counted, or in memory.
            self._removed.add(job.audio_key)
            admitted = set(self._admitted)
            for key in await needless(job) - admitted:
                await self._objects.delete(key)

    async def _run(self, task: str) -> MaintenanceReport:
        began = time.perf_counter()
        counts: Counts = {}
        async with self._lock:
            for name in TASKS if task == "all" else (task,):
                counts |= await self._work[name]()
        report = MaintenanceReport(task, counts, round(time.perf_counter() - began, 3))
        log.info("maintenance %s: %s in %.1f s", task, counts, report.secs)
        return report

    async def _merge(self) -> Counts:
        merged = written = lost = 0
        for name, writer in self._writers.items():
            store, policy = self._location.store(f"tables/{name}"), self._policy.of(writer.table)
            while lost < LOST_EXCHANGES:
                change = await asyncio.to_thread(merge_step, writer.uri, store, writer.table, policy)
                if change is None:
                    break
                if not await self._exchange(writer, change):
                    lost += 1
                    continue
                merged += len(change.out)
                written += len(change.into)
            await writer.checkpoint()
        return {"files_merged": merged, "files_written": written}

    async def _retention(self) -> Counts:
        events, tables = self._writers["job_events"], self._writers["transcriptions"]
        before = self._clock.utc() - dt.timedelta(days=self._settings.event_retention_days)
        store = self._location.store("tables/job_events")
        for _ in range(LOST_EXCHANGES):
            # Memory before the mark: a job leaves memory only after its table has it.
            live, mark = [entry.job.id for entry in self._live], tables.mark
            forgotten, change = await asyncio.to_thread(forget_events, events.uri, store, before, mark, live)
            if change is None or await self._exchange(events, change):
                return {"events_forgotten": forgotten, "revisions_forgotten": await self._old_revisions(before)}
        return {"events_forgotten": 0, "revisions_forgotten": 0}

    async def _old_revisions(self, before: dt.datetime) -> int:
        """Forget revisions that were superseded before a time: segments first, for transcriptions tell which."""
        gone = await asyncio.to_thread(superseded, self._writers["transcriptions"].uri, before)
        forgotten = 0
        for name in ("segments", "transcriptions"):
            writer, store = self._writers[name], self._location.store(f"tables/{name}")
            forgotten, change = await asyncio.to_thread(forget_revisions, writer.uri, store, writer.table, gone)
            if change is not None and not await self._exchange(writer, change):
                # The table changed meanwhile; what is left is done at the next run.
                return 0
        return forgotten

    async def _exchange(self, writer: TableWriter, change: Exchange) -> bool:
        if self._location.fsync:
            # Beside the commits; the flush that is part of the commit then finds little to do.
            for file in change.into:
                await asyncio.to_thread(fsync_path, Path(writer.uri) / file.path)
        return await writer.exchange(change)

    async def _checkpoint(self) -> Counts:
        for writer in self._writers.values():
            await writer.checkpoint()
        return {"checkpoints": len(self._writers)}

    async def _vacuum(self) -> Counts:
        removed = 0
        for writer in self._writers.values():
            self._guard()
            removed += await asyncio.to_thread(vacuum, writer.uri, self._settings.vacuum_hours)
        return {"files_removed": removed}

    async def _orphans(self) -> Counts:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=self._settings.orphan_hours)
        self._needed = set()
        for entry in self._live:
            self.saw(entry.job)
        try:
            uris = {name: writer.uri for name, writer in self._writers.items()}
            return {"objects_removed": await remove_orphans(self._objects, uris, before, self._remove)}
        finally:
            self._needed = None

    async def _remove(self, key: str) -> bool:
        self._guard()
        async with self._removal:
            # No await between the question and the note: a job that comes later meets the note.
            stem = key.rpartition("/")[2].partition(".")[0]
            if self._needed is None or main_key(key) in self._needed or stem in self._needed:
                return False
            if key.startswith("audio/"):
                self._removed.add(key)
            await self._objects.delete(key)
        return True
