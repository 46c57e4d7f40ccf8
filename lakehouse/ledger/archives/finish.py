"""Ends files of an archive run: finished, released, expired, cancelled, or recorded as failed without an attempt.

Also ends the run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from lakehouse.ledger import job_states
from lakehouse.ledger.archives.run_state import ArchiveRunState
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.live_jobs import LiveJobs
from schemas.archives import (
    CANCELLED_WITH_RUN,
    Archive,
    ArchiveFile,
    ArchiveStatus,
    FileEnd,
    FileFailure,
    FileOutcome,
    FileStatus,
    NotedFile,
)
from schemas.domain import Job, JobStatus, Transcript
from schemas.errors import Conflict, FluxionsError, NotFound
from schemas.settings import JobSettings

_LOST = "The worker that processed it stopped without a result."


@dataclass(frozen=True, slots=True)
class _Change:
    """The state of a job after its worker's report. ``failure`` is shown with the file."""

    job: Job
    transcript: Transcript | None = None
    failure: FileFailure | None = None


class ArchiveFinish:
    """Finishes, releases and cancels files, and ends runs. The contract is `ArchiveLedger`."""

    def __init__(
        self,
        settings: JobSettings,
        clock: Clock,
        tasks: ChangeTasks,
        store: JobStore,
        live: LiveJobs,
        lookup: JobLookup,
        leases: Leases,
        archives: ArchiveStore,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tasks = tasks
        self._store = store
        self._live = live
        self._lookup = lookup
        self._leases = leases
        self._archives = archives

    async def renew_files(self, archive_id: int, leases: Mapping[int, str], waiting: Collection[int] = ()) -> list[int]:
        """See `ArchiveLedger.renew_files`."""
        self._archives.running(archive_id)
        lost = []
        for job_id, lease in leases.items():
            try:
                self._leases.renew(job_id, lease, working=job_id not in waiting)
            except Conflict:
                lost.append(job_id)
        return lost

    async def leased_files(self, archive_id: int, leases: Sequence[tuple[int, str]]) -> list[Job | FileOutcome]:
        """See `ArchiveLedger.leased_files`."""
        run = self._archives.running(archive_id)
        known = await self._lookup.jobs({job_id for job_id, _ in leases})
        return [self._leased_file(run, known.get(job_id), job_id, lease) for job_id, lease in leases]

    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        """See `ArchiveLedger.finish_files`."""
        run = self._archives.running(archive_id)
        return await self._tasks.run(self._finish(run, ended))

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        """See `ArchiveLedger.release_files`."""
        run = self._archives.running(archive_id)
        await self._tasks.run(self._release(run, leases))

    async def note_files(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        """See `ArchiveLedger.note_files`."""
        run = self._archives.running(archive_id)
        await self._tasks.run(self._note(run, noted))

    async def end(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        """See `ArchiveLedger.end`."""
        archive = self._archives.find(archive_id)
        if archive.status is status:
            return archive
        run = self._archives.running(archive_id)
        return await self._tasks.run(
            self._complete(run) if status is ArchiveStatus.COMPLETED else self._stop(run, status, message)
        )

    async def cancel(self, archive_id: int) -> Archive:
        """See `ArchiveLedger.cancel`."""
        archive = self._archives.find(archive_id)
        if archive.status is not ArchiveStatus.RUNNING:
            return archive
        return await self._tasks.run(self._stop(self._archives.running(archive_id), ArchiveStatus.CANCELLED, None))

    def _leased_file(self, run: ArchiveRunState, job: Job | None, job_id: int, lease: str) -> Job | FileOutcome:
        file = run.file_of_job(job_id)
        if file is not None and (run.completions.get(job_id) == lease or _completed_under(job, run, lease)):
            return FileOutcome(job_id, file.status)
        try:
            return self._job_in_work(run, job, job_id, lease)
        except FluxionsError as error:
            return FileOutcome(job_id, error=error.code, message=error.message)

    def _job_in_work(self, run: ArchiveRunState, job: Job | None, job_id: int, lease: str) -> Job:
        """The job or revision that ``lease`` is for. Raises Conflict, NotFound."""
        self._lookup.refuse_deleted(job_id)
        found = run.pending_revisions.get(job_id) or job
        if found is None or run.file_of_job(job_id) is None:
            raise NotFound(f"archive {run.archive.id} has no job {job_id}", code="job_not_found")
        job_states.check_lease(found, lease)
        return found

    async def _finish(self, run: ArchiveRunState, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        async with run.lock:
            self._archives.running(run.archive.id)
            known = await self._lookup.jobs({end.job_id for end in ended})
            changes: dict[int, _Change] = {}
            outcomes: list[FileOutcome | None] = []
            async with self._store.locked(known.values()) as entries:
                for end in ended:
                    entry = entries.get(end.job_id)
                    outcome = self._leased_file(run, entry.job if entry else None, end.job_id, end.lease)
                    if isinstance(outcome, Job) and end.job_id in changes:
                        outcome = FileOutcome(end.job_id, error="named_twice", message="The batch names this job twice.")
                    if isinstance(outcome, Job):
                        changes[end.job_id] = self._change_to(outcome, end)
                    outcomes.append(outcome if isinstance(outcome, FileOutcome) else None)
                await self._commit_ended(run, changes)
            for end in ended:
                if end.job_id in changes:
                    run.record_completion(end.job_id, end.lease)
            await self._archives.flush()
            return [
                found or FileOutcome(end.job_id, _status(run, end.job_id))
                for found, end in zip(outcomes, ended, strict=True)
            ]

    def _change_to(self, job: Job, end: FileEnd) -> _Change:
        now, limit = self._clock.utc(), self._settings.max_attempts
        if not isinstance(end.result, FileFailure):
            done = job_states.completed(job, end.lease, end.result, now, self._settings.usd_per_audio_hour)
            return _Change(done, end.transcript)
        why = end.result
        failed = job_states.failed(
            job, end.lease, why.message, why.reason, now, retryable=why.retryable, max_attempts=limit
        )
        return _Change(failed, failure=why)

    async def _commit_ended(self, run: ArchiveRunState, changes: Mapping[int, _Change]) -> None:
        """Commit ended jobs and their files. A failed revision makes no event, because its transcription is unchanged."""
        events = {i: c for i, c in changes.items() if c.failure is None or i not in run.pending_revisions}
        for seq, job in await self._store.commit([change.job for change in events.values()]):
            run.pending_revisions.pop(job.id, None)
            self._store.apply_committed(seq, job, events[job.id].transcript)
        for job_id, change in changes.items():
            if change.failure is not None:
                self._fail_file(run, job_id, change.failure)

    def _fail_file(self, run: ArchiveRunState, job_id: int, failure: FileFailure) -> None:
        """Record a failure with the file. A pending revision waits again or fails; a job's own state is in its event."""
        file = run.file_of_job(job_id)
        if file is None:
            return
        if run.pending_revisions.pop(job_id, None) is not None:
            self._leases.drop(job_id)
            again = failure.retryable and file.attempts < self._settings.max_attempts
            file = replace(file, status=FileStatus.WAITING if again else FileStatus.FAILED, updated_at=self._clock.utc())
        self._archives.put(run, replace(file, reason=failure.reason, message=failure.message))

    async def _release(self, run: ArchiveRunState, leases: Mapping[int, str]) -> None:
        async with run.lock:
            known = await self._lookup.jobs(set(leases))
            async with self._store.locked(known.values()) as entries:
                held = {
                    i: e.job for i, e in entries.items() if isinstance(self._leased_file(run, e.job, i, leases[i]), Job)
                }
                back = [
                    job for i, job in held.items() if i not in run.pending_revisions and job.status is JobStatus.PROCESSING
                ]
                now = self._clock.utc()
                for seq, job in await self._store.commit([job_states.released(job, leases[job.id], now) for job in back]):
                    self._store.apply_committed(seq, job)
            for job_id in held:
                self._put_back(run, job_id)
            await self._archives.flush()

    async def _note(self, run: ArchiveRunState, noted: Sequence[NotedFile]) -> None:
        async with run.lock:
            for one in noted:
                before = run.files.get(one.key)
                if before is not None and before.status in (FileStatus.COMPLETED, FileStatus.PROCESSING):
                    continue
                self._archives.put(run, _noted_file(run, one, self._clock.utc()))
            await self._archives.flush()

    async def _complete(self, run: ArchiveRunState) -> Archive:
        async with run.lock:
            if run.counts.waiting or run.counts.processing:
                raise Conflict(
                    f"archive {run.archive.id} still has {run.counts.waiting} files waiting and "
                    f"{run.counts.processing} processing; finish or cancel them first",
                    code="archive_unfinished",
                )
            return await self._close_run(run, ArchiveStatus.COMPLETED, None)

    async def _stop(self, run: ArchiveRunState, status: ArchiveStatus, message: str | None) -> Archive:
        """End a run with unfinished files. Their jobs are cancelled, because no worker would process them."""
        async with run.lock:
            now = self._clock.utc()
            own = [entry.job for entry in self._live if entry.job.archive_id == run.archive.id]
            async with self._store.locked(job for job in own if not job.status.is_final) as entries:
                under_way = [entry.job for entry in entries.values() if not entry.job.status.is_final]
                for seq, job in await self._store.commit([job_states.cancelled(job, now) for job in under_way]):
                    self._store.apply_committed(seq, job)
            for job_id in list(run.pending_revisions):
                self._leases.drop(job_id)
                del run.pending_revisions[job_id]
            stopped = {job.id for job in under_way}
            for file in list(run.files.values()):
                if not file.status.is_settled or file.transcription_id in stopped:
                    self._archives.put(run, _stopped_file(file, now))
            return await self._close_run(run, status, message)

    async def _close_run(self, run: ArchiveRunState, status: ArchiveStatus, message: str | None) -> Archive:
        """Commit the last states of a run, and drop it from memory."""
        await self._archives.flush()
        ended = replace(run.archive, status=status, message=message, updated_at=self._clock.utc(), counts=run.counts)
        await self._archives.save(ended)
        self._archives.runs.pop(run.archive.id, None)
        return ended

    def expire_revision(self, job_id: int, lease: str) -> bool:
        """Revoke an expired lease on a revision; False if the lease is not on a revision."""
        found = self._archives.pending_revision(job_id)
        if found is None or found[1].worker != lease:
            return False
        if self._leases.was_used(job_id):
            self._fail_file(found[0], job_id, FileFailure("worker_lost", _LOST, retryable=True))
        else:
            self._put_back(found[0], job_id)
        return True

    def _put_back(self, run: ArchiveRunState, job_id: int) -> None:
        """Let a revision wait again that no worker has processed; no attempt is counted."""
        file = run.file_of_job(job_id)
        if run.pending_revisions.pop(job_id, None) is not None and file is not None:
            self._leases.drop(job_id)
            waiting = replace(file, status=FileStatus.WAITING, attempts=file.attempts - 1, updated_at=self._clock.utc())
            self._archives.put(run, waiting)


def _status(run: ArchiveRunState, job_id: int) -> FileStatus | None:
    file = run.file_of_job(job_id)
    return None if file is None else file.status


def _completed_under(job: Job | None, run: ArchiveRunState, lease: str) -> bool:
    """Whether the job was completed in this run under this lease."""
    made = job is not None and job.status is JobStatus.COMPLETED and job.archive_id == run.archive.id
    return made and job is not None and job.worker == lease


def _stopped_file(file: ArchiveFile, now: dt.datetime) -> ArchiveFile:
    message = "The run was stopped before this file was finished."
    return replace(file, status=FileStatus.SKIPPED, reason=CANCELLED_WITH_RUN, message=message, updated_at=now)


def _noted_file(run: ArchiveRunState, noted: NotedFile, now: dt.datetime) -> ArchiveFile:
    return ArchiveFile(
        archive_id=run.archive.id,
        key=noted.key,
        version=noted.version,
        location=noted.location,
        account=noted.account,
        filename=noted.filename,
        metadata=noted.metadata,
        status=FileStatus.SKIPPED if noted.skipped else FileStatus.FAILED,
        updated_at=now,
        size_bytes=noted.size_bytes,
        reason=noted.failure.reason,
        message=noted.failure.message,
    )
