"""Changes jobs: a change is committed to ``job_events`` first, then applied to memory.

Changes of one job are made one after another under its lock; changes of different jobs share commits. There is no await
between the allocation of an event number and the queueing of the event, and none between its commit and its effects in
memory. So events are numbered, committed and applied in one order.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.job_counts import count_change
from lakehouse.ledger.job_effects import JobEffects
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.live_jobs import LiveJob, LiveJobs
from lakehouse.tables.group_commit import Row, TableWriter
from lakehouse.tables.row_mapping import event_row, job_from_row
from schemas.domain import Job, JobStatus, Transcript
from schemas.errors import NotFound
from telemetry.metrics import LOCK_WAIT

_ENDINGS: Final = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.DELETED)
Change = Callable[[Job], Job]
"""A function of `lakehouse.ledger.job_states` with its arguments. It returns the same object if there is nothing to
do.
"""


class JobStore:
    """Commits changes of jobs. Methods raise Unavailable when a commit fails; memory is as before then."""

    def __init__(
        self,
        events: TableWriter,
        ids: Allocator,
        live: LiveJobs,
        lookup: JobLookup,
        effects: JobEffects,
        tasks: ChangeTasks,
        closed: ClosedAccounts,
    ) -> None:
        self._closed = closed
        self._events = events
        self._ids = ids
        self._live = live
        self._lookup = lookup
        self._effects = effects
        self._tasks = tasks
        events.on_landed = self._apply_landed

    def next_id(self) -> tuple[int, dt.datetime]:
        """A new job's id and ``created_at``. Commit the job before anything is awaited."""
        return self._ids.next()

    async def commit(self, jobs: Sequence[Job]) -> list[tuple[int, Job]]:
        """Commit new states of jobs that are new or locked, in one commit.

        Returns them with their event numbers. The caller must pass each to `apply_committed` before it awaits anything.
        Raises Forbidden for a state of a deleted account's job that is not final.
        """
        for job in jobs:
            if job.status not in _ENDINGS:
                self._closed.check(job.account)
        numbered = [(self._ids.next_seq(), job) for job in jobs]
        if numbered:
            await self._events.append([event_row(seq, job) for seq, job in numbered], numbered[-1][0])
        return numbered

    def apply_committed(self, seq: int, job: Job, transcript: Transcript | None = None) -> None:
        """Apply a committed state to memory, unless the job was deleted or had become final before."""
        entry = self._live.get(job.id)
        known = entry.job if entry is not None else None
        if job.id in self._lookup.deleted:
            return
        if known is not None and known.status.is_final and known.revision >= job.revision:
            return
        if entry is None:
            self._live.add(job)
        else:
            entry.job = job
        self._apply(seq, job, transcript, is_new=entry is None)

    def restore(self, seq: int, job: Job) -> None:
        """Apply an event that was read from the table when the ledger was opened."""
        self._live.add(job)
        self._effects.apply(seq, job)

    async def add(self, *states: Job) -> None:
        """Commit the first states of a new job together and add the job to memory, unless an earlier commit of the job,
        reported as failed, has already added it.
        """
        committed = await self.commit(states)
        job = states[0]
        if self._live.get(job.id) is None and job.id not in self._lookup.deleted:
            entry = self._live.add(job)
            for seq, state in committed:
                entry.job = state
                self._apply(seq, state, is_new=state is job)

    async def change(self, job_id: int, change: Change, transcript: Transcript | None = None) -> Job:
        """The job after ``change``, which is completed even if the caller is cancelled.

        Raises NotFound, and as ``change`` does.
        """
        self._lookup.refuse_deleted(job_id)
        entry = self._live.get(job_id)
        if entry is not None:
            return await self._tasks.run(self.change_live(entry, change, transcript))
        job = await self._lookup.job(job_id)
        if job is None:
            raise NotFound(f"no job {job_id}", code="job_not_found")
        # A finished job cannot change any more: a repeated call gets the job, any other call Conflict.
        return change(job)

    async def change_live(self, entry: LiveJob, change: Change, transcript: Transcript | None = None) -> Job:
        """The job in memory after ``change``. Raises as ``change`` does."""
        began = time.perf_counter()
        async with entry.lock:
            LOCK_WAIT.labels("job").observe(time.perf_counter() - began)
            job = change(entry.job)
            if job is not entry.job:
                (committed,) = await self.commit([job])
                if entry.job.status.is_final:
                    # A final event whose commit was reported as failed is in the table after all. The first final event
                    # counts.
                    return entry.job
                entry.job = job
                self._apply(committed[0], job, transcript)
            return job

    async def delete(self, entry: LiveJob, change: Change) -> Job:
        """Commit the deletion that ``change`` makes.

        After the commit has begun, no other change of the job is applied.
        """
        async with entry.lock:
            gone = change(entry.job)
            self._lookup.deleted.add(gone.id)
            try:
                (committed,) = await self.commit([gone])
            except BaseException:
                self._lookup.deleted.discard(gone.id)
                raise
            entry.job = gone
            self._apply(committed[0], gone)
            return gone

    @asynccontextmanager
    async def locked(self, jobs: Iterable[Job]) -> AsyncIterator[dict[int, LiveJob]]:
        """The jobs in memory by id, locked, so none changes within the block.

        They are locked in order of id, so batches cannot deadlock.
        """
        entries: dict[int, LiveJob] = {}
        added: list[Job] = []
        async with AsyncExitStack() as stack:
            for job in sorted(jobs, key=lambda job: job.id):
                if self._live.get(job.id) is None:
                    added.append(job)
                entries[job.id] = entry = self._live.get(job.id) or self._live.add(job)
                await stack.enter_async_context(entry.lock)
            try:
                yield entries
            finally:
                for job in added:
                    if entries[job.id].job is job:
                        self._live.remove(job.id)

    def is_unchanged(self, entries: Mapping[int, LiveJob], job: Job) -> bool:
        """Whether a locked job is unchanged since ``job`` was read, and not deleted."""
        return entries[job.id].job == job and job.id not in self._lookup.deleted

    def _apply(self, seq: int, job: Job, transcript: Transcript | None = None, *, is_new: bool = False) -> None:
        count_change(job, is_new=is_new)
        self._effects.apply(seq, job, transcript)

    def _apply_landed(self, rows: list[Row]) -> None:
        """Apply events whose commit was reported as failed and that are in the table after all.

        A new job among them is processed although its client never got the id.
        """
        for row in rows:
            job = job_from_row(row)
            entry = self._live.get(job.id)
            if entry is None:
                self._live.add(job)
            elif entry.job.status.is_final and job.status is not JobStatus.DELETED and job.revision <= entry.job.revision:
                continue
            else:
                entry.job = job
            self._apply(row["seq"], job, is_new=entry is None)
