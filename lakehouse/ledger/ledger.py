"""The ledger: every job from its acceptance to its end, and the keys that open the doors.

``job_events`` is the truth: a change exists once its event is committed and flushed, and only then does memory or a caller
learn of it. All state in memory is rebuilt from the tables at ``open``. One event loop runs a ledger; changes of one job
are made one after another under its lock, changes of different jobs share commits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lakehouse.commits import TableWriter
from lakehouse.keys import KEY_SPECS
from lakehouse.ledger import jobs
from lakehouse.ledger.archive_book import ArchiveBook
from lakehouse.ledger.cache import ResultCache
from lakehouse.ledger.changes import ChangeLog, Changes, Position
from lakehouse.ledger.clock import Clock, SystemClock
from lakehouse.ledger.erasure import Eraser
from lakehouse.ledger.expiring import LeaseExpiring
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.keys import KeyRing
from lakehouse.ledger.leases import Leases, new_lease
from lakehouse.ledger.live import LiveJob, LiveJobs
from lakehouse.ledger.projection import PROJECT_APP_ID, Finished, Projector
from lakehouse.ledger.queue import JobQueue
from lakehouse.ledger.records import Records
from lakehouse.ledger.upkeep import Maintenance, MaintenanceReport
from lakehouse.ledger.view import JobView
from lakehouse.ledger.voices import VoiceBook
from lakehouse.location import Location
from lakehouse.lock import HomeLock, take_lock
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.objects import Objects
from lakehouse.reads import EventReader
from lakehouse.rows import Row, event_row, job_from_row, job_row
from schemas.domain import Claim, Job, JobStatus, NewJob, Outcome, Transcript
from schemas.errors import NotFound, Unavailable
from schemas.settings import Settings
from schemas.tables import TABLES

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[Job], Job]


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """For status pages. ``live_jobs`` counts by status what is in memory; ``tables`` gives versions."""

    live_jobs: dict[str, int]
    queue_length: int
    leases: int
    unprojected: int
    cache_entries: int
    tables: dict[str, int]


class Ledger(LeaseExpiring):
    """Made by ``Ledger.open``; see the module for its promises. Methods raise Unavailable when a commit fails."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        lock: HomeLock,
        writers: dict[str, TableWriter],
        merge_policy: MergePolicy | None = None,
        *,
        attended: bool = False,
    ) -> None:
        self._settings = settings.jobs
        self._clock = clock
        self._lock = lock
        self._writers = writers
        self._events = writers["job_events"]
        self._finished = writers["transcriptions"]
        super().__init__()
        self._ids = Allocator(clock)
        self._live = LiveJobs()
        self._view = JobView(self._live, self._finished, self._ids)
        self._queue = JobQueue()
        self._leases = Leases(clock, settings.jobs.lease_secs, attended=attended)
        self._cache = ResultCache()
        self._keys = KeyRing(writers["api_keys"], clock)
        self._records = Records(writers, clock)
        self._voices = VoiceBook(writers["voices"], clock)
        self._archives = ArchiveBook(writers, clock)
        objects = Objects.of(settings)
        self._maintenance = Maintenance(settings, writers, self._live, clock, lock.check, merge_policy)
        eraser = Eraser(writers, lambda job: self._maintenance.erase(job, self._needless_keys), self._archives.tombstones)
        self._projector = Projector(self._finished, writers["segments"], objects, self._forget, eraser.erase)
        self._changes: set[asyncio.Task[Any]] = set()
        self._events.on_landed = self._learn_landed
        self._logs = ChangeLog.several(list(KEY_SPECS))
        # Jobs are told as they change, long before they reach their table.
        for name in KEY_SPECS.keys() - {"transcriptions"}:
            writers[name].on_committed = self._logs[name].add
        self._closed = False
        self._expiry: asyncio.Task[None]

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        clock: Clock | None = None,
        merge_policy: MergePolicy | None = None,
        attended: bool = False,
    ) -> Ledger:
        """Take the home, open its tables, rebuild what was under way. Raises Conflict if another ledger has the home.

        ``attended``: leases run only while somebody calls `attend`.
        """
        location = Location.of(settings)
        lock = await take_lock(location)
        writers: dict[str, TableWriter] = {}
        try:
            for table in TABLES:
                writers[table.name] = await TableWriter.open(
                    table,
                    location,
                    app_id=PROJECT_APP_ID if table.name in ("transcriptions", "segments") else "ledger",
                    checkpoint_interval=settings.storage.checkpoint_interval,
                    guard=lock.check,
                )
            ledger = cls(settings, clock or SystemClock(), lock, writers, merge_policy, attended=attended)
            await ledger._restore()
        except BaseException:
            for writer in writers.values():
                await writer.close()
            await lock.release()
            raise
        ledger._expiry = asyncio.create_task(ledger._expire_forever(), name="lease-expiry")
        return ledger

    async def close(self) -> None:
        """Finish changes that are being committed, project what is final, let the home go."""
        if self._closed:
            return
        self._closed = True
        self._expiry.cancel()
        await asyncio.wait([self._expiry])
        await self._maintenance.close()
        if self._changes:
            await asyncio.wait(self._changes)
        await self._archives.close()
        await self._projector.close()
        for writer in self._writers.values():
            await writer.close()
        await self._lock.release()

    # Jobs, as the gateway sees them

    async def create_job(self, new: NewJob) -> Job:
        """Accept a recording: ``submitted``, or ``completed`` at once when an earlier job answers it."""
        source = await self._answer_to(new) if new.use_cache else None
        return await self._durably(self._create(new, source))

    async def changes(self, since: Mapping[str, Position | None]) -> dict[str, Changes]:
        """By table, what a reader at the given position lacks; None asks for what to open the table with. See `changes`."""
        return {name: self._logs[name].since(position) or self._whole(name) for name, position in since.items()}

    # Jobs, as workers see them

    async def claim(self, worker: str, wait_secs: float) -> Claim | None:
        """The oldest waiting job under a new lease; None when none came within ``wait_secs``."""
        deadline = self._clock.monotonic() + wait_secs
        while True:
            job_id = await self._queue.take(max(0.0, deadline - self._clock.monotonic()))
            if job_id is None:
                return None
            entry = self._live.get(job_id)
            if entry is not None and entry.job.status is JobStatus.SUBMITTED:
                return await self._durably(self._start(entry, new_lease(worker)))

    async def renew(self, job_id: int, lease: str) -> float:
        """Extend a lease; gives its new length in seconds. Raises Conflict(code="lease_lost")."""
        self._leases.renew(job_id, lease)
        return self._settings.lease_secs

    async def complete(self, job_id: int, lease: str, outcome: Outcome, transcript: Transcript | None = None) -> Job:
        """Record a result. Repeating it with the winning lease changes nothing. Raises Conflict, NotFound.

        ``transcript`` saves reading the result object back for the ``segments`` table.
        """
        price = self._settings.usd_per_audio_hour
        return await self._change(
            job_id, lambda job: jobs.completed(job, lease, outcome, self._clock.utc(), price), transcript
        )

    async def fail(self, job_id: int, lease: str, message: str, retryable: bool) -> Job:
        """Record a failure; a retryable one returns the job to the queue while attempts last. Raises Conflict, NotFound."""
        attempts = self._settings.max_attempts
        return await self._change(
            job_id,
            lambda job: jobs.failed(job, lease, message, self._clock.utc(), retryable=retryable, max_attempts=attempts),
        )

    async def release(self, job_id: int, lease: str) -> Job:
        """A worker that stops hands its job back; the attempt does not count. Raises Conflict, NotFound."""
        return await self._change(job_id, lambda job: jobs.released(job, lease, self._clock.utc()))

    async def maintain(self, task: str, wait_secs: float) -> MaintenanceReport | None:
        """Run or join a task of `lakehouse.maintenance`; None if it takes longer than ``wait_secs``: then ask again.

        Raises InvalidParameter for one that is not, Unavailable when a table cannot be written.
        """
        if self._closed:
            raise Unavailable("the ledger is closing; try again", code="closed")
        return await self._maintenance.run(task, wait_secs)

    async def stats(self) -> LedgerStats:
        return LedgerStats(
            live_jobs=self._live.count_by_status(),
            queue_length=len(self._queue),
            leases=len(self._leases),
            unprojected=len(self._projector),
            cache_entries=len(self._cache),
            tables={name: writer.version for name, writer in self._writers.items()},
        )

    # Changes

    async def _durably(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change to its end even if the caller goes away: what the table learns, memory must learn too."""
        if self._closed:
            change.close()
            raise Unavailable("the ledger is closing; try again", code="closed")
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _create(self, new: NewJob, source: Job | None) -> Job:
        async with self._maintenance.admitting(new.audio_key):
            made = self._live.sent_as(new.account, new.submission)
            if made is not None:
                return made
            job_id, created_at = self._ids.next()
            if source is None or source.id in self._deleted:
                job = jobs.submitted(job_id, created_at, new)
            else:
                job = jobs.answered(job_id, created_at, new, source)
            seq = await self._commit(job)
            self._live.add(job)
        self._after(seq, job, None)
        return job

    async def _start(self, entry: LiveJob, lease: str) -> Claim:
        try:
            job = await self._apply(entry, lambda job: jobs.claimed(job, lease, self._clock.utc()), None)
        except Unavailable:
            self._queue.put(entry.job.id)
            raise
        return Claim(job, lease, self._settings.lease_secs)

    async def _change(self, job_id: int, change: Change, transcript: Transcript | None = None) -> Job:
        self._refuse_deleted(job_id)
        entry = self._live.get(job_id)
        if entry is not None:
            return await self._durably(self._apply(entry, change, transcript))
        job = await self._view.job(job_id)
        if job is None:
            raise NotFound(f"no job {job_id}", code="job_not_found")
        # A finished job has no changes left: this gives the job itself to a repeated call and Conflict to others.
        return change(job)

    async def _apply(self, entry: LiveJob, change: Change, transcript: Transcript | None) -> Job:
        async with entry.lock:
            job = change(entry.job)
            if job is not entry.job:
                seq = await self._commit(job)
                if entry.job.status.is_final:
                    # An earlier final event thought lost is in the table, and the first one counts.
                    return entry.job
                entry.job = job
                self._after(seq, job, transcript)
            return job

    async def _commit(self, job: Job) -> int:
        # No await between number and queue, and none between a commit and its effects in memory: so events are
        # numbered, committed and projected in one order.
        seq = self._ids.next_seq()
        await self._events.append([event_row(seq, job)], seq)
        return seq

    def _learn_landed(self, rows: list[Row]) -> None:
        """Take in events whose callers were told that they failed. A job nobody got the id of is worked on all the same."""
        for row in rows:
            job = job_from_row(row)
            entry = self._live.get(job.id)
            if entry is None:
                self._live.add(job)
            elif entry.job.status.is_final and job.status is not JobStatus.DELETED and job.revision <= entry.job.revision:
                continue
            else:
                entry.job = job
            self._after(row["seq"], job, None)

    def _after(self, seq: int, job: Job, transcript: Transcript | None) -> None:
        """What memory, and through it every reader, learns from a committed event."""
        self._logs["transcriptions"].add([job_row(job)])
        self._maintenance.saw(job)
        self._archives.saw(job)
        self._archives.flush_soon()
        self._told(job)
        if job.status is JobStatus.SUBMITTED:
            self._leases.drop(job.id)
            if job.archive_id is None:
                self._queue.put(job.id)
        elif job.status is JobStatus.PROCESSING:
            # A worker of the queue speaks at once; one of an archive takes up many files together.
            secs = self._leases.first_word_secs if job.archive_id is None else None
            self._leases.grant(job.id, job.worker or "", secs)
        else:
            self._leases.drop(job.id)
            if job.status is JobStatus.COMPLETED and not job.cached:
                self._cache.add(job)
            self._projector.add(Finished(seq, job, transcript))

    # Reading and starting

    def _whole(self, table: str) -> Changes:
        # Position, version and memory are taken in one step: a row is in the table, in memory, or told later.
        rows = [job_row(entry.job) for entry in self._live] if table == "transcriptions" else []
        return Changes(self._logs[table].position, rows, self._writers[table].version)

    async def _answer_to(self, new: NewJob) -> Job | None:
        candidate = self._cache.find(new)
        source = await self._view.job(candidate) if candidate is not None else None
        return source if source is not None and jobs.answers(source, new) else None

    def _forget(self, projected: list[Job]) -> None:
        for job in projected:
            entry = self._live.get(job.id)
            # One deleted meanwhile is in its table still, and memory must go on hiding it.
            # So must one that has a newer revision.
            if entry is not None and (entry.job.status, entry.job.revision) == (job.status, job.revision):
                self._view.projected(job)
                self._live.remove(job.id)

    async def _restore(self) -> None:
        """Rebuild memory: ids, waiting jobs, leases as they were recorded, the cache, and what was not projected."""
        reader, version = EventReader(self._events.uri), self._events.version
        self._ids.restore(await asyncio.to_thread(reader.bounds))
        self._cache.load(await asyncio.to_thread(self._view.reader.cacheable, self._finished.version))
        await self._keys.load()
        await self._records.load()
        await self._voices.load()
        await self._archives.load()
        for seq, job in await asyncio.to_thread(reader.unfinished, version):
            self._live.add(job)
            self._after(seq, job, None)
        self._leases.take_up_all()
        for seq, job in await asyncio.to_thread(reader.finished_after, self._projector.mark, version):
            self._live.add(job)
            self._after(seq, job, None)
        await self._reconcile_archives(list(self._archives.runs))
