"""Changes of jobs that no worker makes: those brought in from elsewhere, and those a client has deleted.

A deletion is an event like any other: once it is committed the job is gone for everyone. Its rows and objects are erased
behind it by the projector, which starts over after a crash, so nothing of a deleted job stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.commits import TableWriter
from lakehouse.ledger import jobs
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.ledger.keeping import RecordKeeping
from lakehouse.ledger.live import LiveJobs
from lakehouse.ledger.records import Recorded
from lakehouse.ledger.view import JobView
from lakehouse.reads import TableReader
from lakehouse.results import job_keys
from lakehouse.rows import event_row, job_from_row
from schemas.domain import Job, JobStatus, Transcript
from schemas.errors import Conflict, NotFound


class JobEditing(RecordKeeping):
    """Part of `lakehouse.ledger.Ledger`. Methods raise Unavailable when a commit fails."""

    _clock: Clock
    _events: TableWriter
    _finished: TableWriter
    _ids: Allocator
    _live: LiveJobs
    _view: JobView

    def __init__(self) -> None:
        self._import_lock = asyncio.Lock()
        self._jobs = TableReader(self._finished.uri)
        self._deleted: set[int] = set()
        """Ids deleted in this life of the ledger, from just before the commit on."""

    async def _commit(self, job: Job) -> int:
        raise NotImplementedError

    def _after(self, seq: int, job: Job, transcript: Transcript | None) -> None:
        raise NotImplementedError

    async def delete_job(self, account: str, job_id: int) -> Job:
        """Delete a job in any state, for good. Raises NotFound, also for another account's."""
        return await self._durably(self._delete(account, job_id))

    async def known_imports(self, account: str, keys: Collection[str]) -> set[str]:
        """Which of these identities an account's jobs have."""
        if not keys:
            return set()
        found = await self._jobs_with(account, pl.col("import_key").is_in(list(keys)))
        return {job.import_key for job in found if job.import_key is not None and not self._is_gone(job)} & set(keys)

    async def import_jobs(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        """(id, whether it is new) of finished jobs from elsewhere, in one commit; their result objects are there already.

        Ids given here replace theirs. Those whose ``import_key`` is known are left, and have the id 0.
        """
        return await self._durably(self._import(account, finished))

    async def _delete(self, account: str, job_id: int) -> Job:
        job = await self._view.job(job_id) if job_id not in self._deleted else None
        if job is None or job.account != account:
            raise NotFound(f"there is no transcription {job_id} in your account", param="id")
        entry = self._live.get(job_id) or self._live.add(job)
        async with entry.lock:
            if entry.job.status is JobStatus.DELETED:
                raise NotFound(f"there is no transcription {job_id} in your account", param="id")
            self._deleted.add(job_id)
            try:
                gone = jobs.deleted(entry.job, self._clock.utc())
                seq = await self._commit(gone)
            except BaseException:
                self._deleted.discard(job_id)
                raise
            entry.job = gone
            self._after(seq, gone, None)
            return gone

    async def _import(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        async with self._import_lock:
            known = await self.known_imports(account, {job.import_key for job in finished if job.import_key})
            new: list[Job] = []
            answers: list[Recorded] = []
            for job in finished:
                if job.import_key in known:
                    answers.append((0, False))
                    continue
                new.append(replace(job, id=self._ids.next()[0], account=account))
                answers.append((new[-1].id, True))
                if job.import_key:
                    known.add(job.import_key)
            numbered = [(self._ids.next_seq(), job) for job in new]
            if numbered:
                await self._events.append([event_row(seq, job) for seq, job in numbered], numbered[-1][0])
            for seq, job in numbered:
                self._live.add(job)
                self._after(seq, job, None)
            return answers

    async def _needless_keys(self, job: Job) -> set[str]:
        """Objects that a deleted job alone needed, in any of its revisions.

        Others of its account may need the same: the same bytes were sent more than once.
        """
        found = await self._jobs_with(job.account, pl.col("sha256") == job.sha256)
        mine = job_keys(job).union(*(job_keys(j) for j in found if j.id == job.id))
        return mine.difference(*(job_keys(j) for j in found if j.sha256 == job.sha256 and not self._is_gone(j)))

    async def _jobs_with(self, account: str, wanted: pl.Expr) -> list[Job]:
        """Jobs of an account: every revision in its table that is ``wanted``, and all in memory."""
        # Memory first: a job that reaches the table meanwhile is then seen twice, never not at all.
        live = self._live.of_account(account)
        frame = await asyncio.to_thread(
            self._jobs.collect, lambda table: table.filter(pl.col("account") == account, wanted), self._finished.version
        )
        return [*(job_from_row(row) for row in frame.iter_rows(named=True)), *live]

    def _is_gone(self, job: Job) -> bool:
        entry = self._live.get(job.id)
        return job.id in self._deleted or (entry is not None and entry.job.status is JobStatus.DELETED)

    def _refuse_deleted(self, job_id: int) -> None:
        """A worker must learn that its work is void, not that something is wrong."""
        if job_id in self._deleted:
            raise Conflict(f"job {job_id} was deleted", code="lease_lost")
