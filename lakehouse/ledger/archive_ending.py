"""What becomes of an archive run's files: finished, handed back, run out, cancelled, or never come to work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lakehouse.ledger import jobs
from lakehouse.ledger.archive_beginning import ArchiveBeginning
from lakehouse.ledger.archive_runs import Run
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

_LOST = "The worker that had it stopped without a result."


@dataclass(frozen=True, slots=True)
class _Change:
    """The job after a worker's word, and what its file says of it where the job itself does not."""

    job: Job
    transcript: Transcript | None = None
    failure: FileFailure | None = None


class ArchiveEnding(ArchiveBeginning):
    """Part of `lakehouse.ledger.Ledger`. Methods raise NotFound and Conflict(code="archive_ended") for the run itself."""

    async def renew_files(self, archive_id: int, leases: Mapping[int, str]) -> list[int]:
        """Extend leases; gives the ids of those that are lost."""
        self._archives.running(archive_id)
        lost = []
        for job_id, lease in leases.items():
            try:
                self._leases.renew(job_id, lease)
            except Conflict:
                lost.append(job_id)
        return lost

    async def leased_files(self, archive_id: int, leases: Sequence[tuple[int, str]]) -> list[Job | FileOutcome]:
        """For each the job as it is worked on; an outcome where its end was taken before, or the lease is lost."""
        run = self._archives.running(archive_id)
        known = await self._view.jobs({job_id for job_id, _ in leases})
        return [self._leased_file(run, known.get(job_id), job_id, lease) for job_id, lease in leases]

    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        """Take in what workers report, all in one commit; one outcome each, in order. Repeating it changes nothing."""
        run = self._archives.running(archive_id)
        return await self._durably(self._finish(run, ended))

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        """Take back files nobody worked on to the end; that was no attempt. Lost leases are passed over."""
        run = self._archives.running(archive_id)
        await self._durably(self._release(run, leases))

    async def note_files(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        """Record files that never came to work. What is completed or being worked on stays as it is."""
        run = self._archives.running(archive_id)
        await self._durably(self._note(run, noted))

    async def end_archive(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        """The run is over. Raises Conflict(code="archive_unfinished") to call complete one with files under way."""
        archive = self._archives.find(archive_id)
        if archive.status is status:
            return archive
        run = self._archives.running(archive_id)
        return await self._durably(
            self._complete(run) if status is ArchiveStatus.COMPLETED else self._stop(run, status, message)
        )

    async def cancel_archive(self, archive_id: int) -> Archive:
        """Stop a run, and every file of it that waits or is worked on. One that has ended stays as it is."""
        archive = self._archives.find(archive_id)
        if archive.status is not ArchiveStatus.RUNNING:
            return archive
        return await self._durably(self._stop(self._archives.running(archive_id), ArchiveStatus.CANCELLED, None))

    def _leased_file(self, run: Run, job: Job | None, job_id: int, lease: str) -> Job | FileOutcome:
        file = run.of_job(job_id)
        if file is not None and (run.ended.get(job_id) == lease or _completed_under(job, run, lease)):
            return FileOutcome(job_id, file.status)
        try:
            return self._worked_on(run, job, job_id, lease)
        except FluxionsError as error:
            return FileOutcome(job_id, error=error.code, message=error.message)

    def _worked_on(self, run: Run, job: Job | None, job_id: int, lease: str) -> Job:
        """The job, or the revision, that ``lease`` is for. Raises Conflict, NotFound."""
        self._refuse_deleted(job_id)
        found = run.revising.get(job_id) or job
        if found is None or run.of_job(job_id) is None:
            raise NotFound(f"archive {run.archive.id} has no job {job_id}", code="job_not_found")
        jobs.check_lease(found, lease)
        return found

    async def _finish(self, run: Run, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        async with run.lock:
            self._archives.running(run.archive.id)
            known = await self._view.jobs({end.job_id for end in ended})
            changes: dict[int, _Change] = {}
            outcomes: list[FileOutcome | None] = []
            async with self._locked(known.values()) as entries:
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
                    run.took_end(end.job_id, end.lease)
            await self._archives.flush()
            return [
                found or FileOutcome(end.job_id, _status(run, end.job_id))
                for found, end in zip(outcomes, ended, strict=True)
            ]

    def _change_to(self, job: Job, end: FileEnd) -> _Change:
        now, limit = self._clock.utc(), self._settings.max_attempts
        if not isinstance(end.result, FileFailure):
            done = jobs.completed(job, end.lease, end.result, now, self._settings.usd_per_audio_hour)
            return _Change(done, end.transcript)
        retryable, message = end.result.retryable, end.result.message
        failed = jobs.failed(job, end.lease, message, now, retryable=retryable, max_attempts=limit)
        return _Change(failed, failure=end.result)

    async def _commit_ended(self, run: Run, changes: Mapping[int, _Change]) -> None:
        """A revision that failed is no event: its transcription stays what it is."""
        events = {i: c for i, c in changes.items() if c.failure is None or i not in run.revising}
        for seq, job in await self._commit_batch([change.job for change in events.values()]):
            run.revising.pop(job.id, None)
            self._learn(seq, job, events[job.id].transcript)
        for job_id, change in changes.items():
            if change.failure is not None:
                self._fail_file(run, job_id, change.failure)

    def _fail_file(self, run: Run, job_id: int, failure: FileFailure) -> None:
        """What the file says of its failure, and what becomes of a revision that was being made."""
        file = run.of_job(job_id)
        if file is None:
            return
        if run.revising.pop(job_id, None) is not None:
            self._leases.drop(job_id)
            again = failure.retryable and file.attempts < self._settings.max_attempts
            file = replace(file, status=FileStatus.WAITING if again else FileStatus.FAILED, updated_at=self._clock.utc())
        self._archives.put(run, replace(file, reason=failure.reason, message=failure.message))

    async def _release(self, run: Run, leases: Mapping[int, str]) -> None:
        async with run.lock:
            known = await self._view.jobs(set(leases))
            async with self._locked(known.values()) as entries:
                held = {
                    i: e.job for i, e in entries.items() if isinstance(self._leased_file(run, e.job, i, leases[i]), Job)
                }
                back = [job for i, job in held.items() if i not in run.revising and job.status is JobStatus.PROCESSING]
                now = self._clock.utc()
                for seq, job in await self._commit_batch([jobs.released(job, leases[job.id], now) for job in back]):
                    self._learn(seq, job)
            for job_id in held:
                self._put_back(run, job_id)
            await self._archives.flush()

    async def _note(self, run: Run, noted: Sequence[NotedFile]) -> None:
        async with run.lock:
            for one in noted:
                before = run.files.get(one.key)
                if before is not None and before.status in (FileStatus.COMPLETED, FileStatus.PROCESSING):
                    continue
                self._archives.put(run, _noted_file(run, one, self._clock.utc()))
            await self._archives.flush()

    async def _complete(self, run: Run) -> Archive:
        async with run.lock:
            if run.counts.waiting or run.counts.processing:
                raise Conflict(
                    f"archive {run.archive.id} still has {run.counts.waiting} files waiting and {run.counts.processing} in "
                    "work; finish or cancel them first",
                    code="archive_unfinished",
                )
            return await self._close_run(run, ArchiveStatus.COMPLETED, None)

    async def _stop(self, run: Run, status: ArchiveStatus, message: str | None) -> Archive:
        """End a run whose files are not all settled: history keeps no job that nobody will work on."""
        async with run.lock:
            now = self._clock.utc()
            mine = [entry.job for entry in self._live if entry.job.archive_id == run.archive.id]
            async with self._locked(job for job in mine if not job.status.is_final) as entries:
                under_way = [entry.job for entry in entries.values() if not entry.job.status.is_final]
                for seq, job in await self._commit_batch([jobs.cancelled(job, now) for job in under_way]):
                    self._learn(seq, job)
            for job_id in list(run.revising):
                self._leases.drop(job_id)
                del run.revising[job_id]
            stopped = {job.id for job in under_way}
            for file in list(run.files.values()):
                if not file.status.is_settled or file.transcription_id in stopped:
                    self._archives.put(run, _stopped_file(file, now))
            return await self._close_run(run, status, message)

    async def _close_run(self, run: Run, status: ArchiveStatus, message: str | None) -> Archive:
        """Write what is left to write of a run, and let it go from memory."""
        await self._archives.flush()
        ended = replace(run.archive, status=status, message=message, updated_at=self._clock.utc(), counts=run.counts)
        await self._archives.save(ended)
        self._archives.runs.pop(run.archive.id, None)
        return ended

    def _expire_revision(self, job_id: int, lease: str) -> bool:
        """Take back the lease on a revision; False if it is on none."""
        found = self._archives.revising(job_id)
        if found is None or found[1].worker != lease:
            return False
        if self._leases.was_taken_up(job_id):
            self._fail_file(found[0], job_id, FileFailure("worker_lost", _LOST, retryable=True))
        else:
            self._put_back(found[0], job_id)
        return True

    def _put_back(self, run: Run, job_id: int) -> None:
        """A revision that nobody worked on waits again; that was no attempt."""
        file = run.of_job(job_id)
        if run.revising.pop(job_id, None) is not None and file is not None:
            self._leases.drop(job_id)
            waiting = replace(file, status=FileStatus.WAITING, attempts=file.attempts - 1, updated_at=self._clock.utc())
            self._archives.put(run, waiting)


def _status(run: Run, job_id: int) -> FileStatus | None:
    file = run.of_job(job_id)
    return None if file is None else file.status


def _completed_under(job: Job | None, run: Run, lease: str) -> bool:
    """Whether the job is what this very lease made of it, in this run."""
    made = job is not None and job.status is JobStatus.COMPLETED and job.archive_id == run.archive.id
    return made and job is not None and job.worker == lease


def _stopped_file(file: ArchiveFile, now: dt.datetime) -> ArchiveFile:
    message = "The run was stopped before it was done."
    return replace(file, status=FileStatus.SKIPPED, reason=CANCELLED_WITH_RUN, message=message, updated_at=now)


def _noted_file(run: Run, noted: NotedFile, now: dt.datetime) -> ArchiveFile:
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
