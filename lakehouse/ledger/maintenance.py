"""Maintenance tasks of one ledger. They run one at a time, in the ledger's own process, concurrently with its commits."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.webhooks.catch_up import REMEMBERED
from lakehouse.ledger.webhooks.expiry import expire_deliveries
from lakehouse.maintenance.merge import MergePolicy, merge_step
from lakehouse.maintenance.orphans import remove_orphans
from lakehouse.maintenance.retention import expire_events
from lakehouse.maintenance.revisions import expire_revisions, superseded
from lakehouse.maintenance.unfinished_files import remove_unfinished
from lakehouse.maintenance.vacuum import vacuum
from lakehouse.storage.fsync import fsync_path
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.tables.file_replacement import FileReplacement
from lakehouse.tables.group_commit import TableWriter
from schemas.domain import Seconds
from schemas.errors import InvalidParameter
from schemas.maintenance import LedgerStats, MaintenanceReport
from schemas.settings import Settings

log = logging.getLogger(__name__)

TASKS = ("merge", "retention", "checkpoint", "vacuum", "orphans")
"""The tasks, in the order in which `all` runs them."""
MAX_LOST_REPLACEMENTS = 3
"""Number of times that files may change during a task before the rest is left to the next run."""

Counts = dict[str, int]


class Maintenance:
    """Runs tasks of `lakehouse.maintenance`. The contract is `MaintenanceLedger`.

    Tasks raise Unavailable when a table cannot be written; all may be repeated.
    """

    def __init__(
        self,
        settings: Settings,
        writers: Mapping[str, TableWriter],
        live: LiveJobs,
        clock: Clock,
        tasks: ChangeTasks,
        guard: ObjectGuard,
        check_lock: Callable[[], None],
        stats: Callable[[], LedgerStats],
        policy: MergePolicy | None = None,
    ) -> None:
        self._settings = settings.storage
        self._location = Location.of(settings)
        self._objects = Objects.of(settings)
        self._writers = writers
        self._live = live
        self._clock = clock
        self._tasks = tasks
        self._guard = guard
        self._check_lock = check_lock
        self._stats = stats
        self._policy = policy or MergePolicy()
        self._lock = asyncio.Lock()
        self._running: dict[str, asyncio.Task[MaintenanceReport]] = {}
        self._work: dict[str, Callable[[], Awaitable[Counts]]] = {
            "merge": self._merge,
            "retention": self._retention,
            "checkpoint": self._checkpoint,
            "vacuum": self._vacuum,
            "orphans": self._orphans,
        }

    async def run(self, task: str, wait_secs: Seconds) -> MaintenanceReport | None:
        """See `MaintenanceLedger.run`."""
        self._tasks.check_open()
        if task != "all" and task not in self._work:
            raise InvalidParameter(f"there is no maintenance {task!r}; use {', '.join(TASKS)} or all", param="task")
        running = self._running.get(task)
        if running is None:
            running = self._running[task] = asyncio.create_task(self._run(task), name=f"maintenance-{task}")
        done, _ = await asyncio.wait([running], timeout=wait_secs)
        if not done:
            return None
        # Every caller that joined gets this report; the next call starts the task again.
        if self._running.get(task) is running:
            del self._running[task]
        return running.result()

    async def stats(self) -> LedgerStats:
        """See `MaintenanceLedger.stats`."""
        return self._stats()

    async def close(self) -> None:
        """Stop after the present step. Uncommitted work is left to the next run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

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
            while lost < MAX_LOST_REPLACEMENTS:
                change = await asyncio.to_thread(merge_step, writer.uri, store, writer.table, policy)
                if change is None:
                    break
                if not await self._replace_files(writer, change):
                    lost += 1
                    continue
                merged += len(change.removed)
                written += len(change.added)
            await writer.checkpoint()
        return {"files_merged": merged, "files_written": written}

    async def _retention(self) -> Counts:
        events, tables = self._writers["job_events"], self._writers["transcriptions"]
        before = self._clock.utc() - dt.timedelta(days=self._settings.event_retention_days)
        store = self._location.store("tables/job_events")
        for _ in range(MAX_LOST_REPLACEMENTS):
            # Memory is read first: a job leaves memory only after its table has it.
            live, txn_version = [entry.job.id for entry in self._live], tables.txn_version
            forgotten, change = await asyncio.to_thread(expire_events, events.uri, store, before, txn_version, live)
            if change is None or await self._replace_files(events, change):
                break
        else:
            return {"events_forgotten": 0, "revisions_forgotten": 0, "deliveries_forgotten": 0}
        return {
            "events_forgotten": forgotten,
            "revisions_forgotten": await self._old_revisions(before),
            "deliveries_forgotten": await expire_deliveries(
                self._writers["webhook_deliveries"], min(before, self._clock.utc() - REMEMBERED)
            ),
        }

    async def _old_revisions(self, before: dt.datetime) -> int:
        """Remove revisions superseded before a time. Segments go first, because transcriptions say which are superseded."""
        gone = await asyncio.to_thread(superseded, self._writers["transcriptions"].uri, before)
        forgotten = 0
        for name in ("segments", "transcriptions"):
            writer, store = self._writers[name], self._location.store(f"tables/{name}")
            forgotten, change = await asyncio.to_thread(expire_revisions, writer.uri, store, writer.table, gone)
            if change is not None and not await self._replace_files(writer, change):
                # The table changed meanwhile; the rest is left to the next run.
                return 0
        return forgotten

    async def _replace_files(self, writer: TableWriter, change: FileReplacement) -> bool:
        if self._location.fsync:
            # Flushed concurrently with commits, so that the flush within the commit is short.
            for file in change.added:
                await asyncio.to_thread(fsync_path, Path(writer.uri) / file.path)
        return await writer.replace_files(change)

    async def _checkpoint(self) -> Counts:
        for writer in self._writers.values():
            await writer.checkpoint()
        return {"checkpoints": len(self._writers)}

    async def _vacuum(self) -> Counts:
        removed = 0
        for writer in self._writers.values():
            self._check_lock()
            removed += await asyncio.to_thread(vacuum, writer.uri, self._settings.vacuum_hours)
        return {"files_removed": removed}

    async def _orphans(self) -> Counts:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=self._settings.orphan_hours)
        uris = {name: writer.uri for name, writer in self._writers.items()}
        with self._guard.finding_orphans():
            removed = await remove_orphans(self._objects, uris, before, self._guard.remove_orphan)
        return {
            "objects_removed": removed,
            "unfinished_removed": await asyncio.to_thread(remove_unfinished, self._location, before),
        }
