"""Decides about each file of a batch that a worker begins: lease it, answer it from the cache, or leave it.

Decisions are made from memory and change only the state of files; `lakehouse.ledger.archives.begin` carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lakehouse.ledger import job_states
from lakehouse.ledger.archives.run_state import DELETED, ArchiveRunState
from lakehouse.ledger.archives.store import ArchiveStore, file_after
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.leases import Leases, new_lease
from lakehouse.ledger.live_jobs import LiveJobs
from schemas.archives import CANCELLED_WITH_RUN, ArchiveFile, ArchiveKind, BeginState, Begun, FileStatus, Lease, SourceFile
from schemas.domain import Job, JobStatus, NewJob, Seconds

RETRY_SECS = 1.0
"""Least time after which a worker asks again for a file that is not free."""


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """A worker's request to begin files of a run. ``retry_failed``: also files that failed before."""

    run: ArchiveRunState
    worker: str
    engine_revision: str
    retry_failed: bool


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of a batch, with the ledger's knowledge of it."""

    file: SourceFile
    new: NewJob
    """The job that the file becomes, if a new job is needed."""
    stored: bool
    """Whether the file's recording is in the object store."""
    before: ArchiveFile | None
    """The state of the file in the run."""
    job: Job | None
    """The job that the file is or was."""
    source: Job | None
    """An earlier job that has the file's result."""

    @property
    def is_same(self) -> bool:
        """Whether the run knows this content under this key."""
        return self.before is not None and self.before.sha256 == self.file.sha256


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job to commit: ``job`` is its state after the change, with id 0 if it is new, and ``base`` its state before."""

    facts: FileFacts
    job: Job
    base: Job | None = None

    @property
    def is_event(self) -> bool:
        """Whether the change is a job event.

        A lease on a revision is no event, because its transcription is unchanged.
        """
        return self.job.revision == 0 or self.job.status is JobStatus.COMPLETED


class BeginDecisions:
    """Decides one file after another, under the run's lock."""

    def __init__(
        self,
        clock: Clock,
        live: LiveJobs,
        lookup: JobLookup,
        leases: Leases,
        archives: ArchiveStore,
        lease_secs: Seconds,
    ) -> None:
        self._clock = clock
        self._live = live
        self._lookup = lookup
        self._leases = leases
        self._archives = archives
        self._lease_secs = lease_secs

    def decide(self, request: BeginRequest, facts: FileFacts) -> Begun | JobPlan:
        """The answer for a file, or the job to commit first."""
        before, job = facts.before, facts.job
        if before is not None:
            if before.reason == DELETED and before.version == facts.file.version:
                return Begun(BeginState.DONE, file=before)
            if before.status is FileStatus.PROCESSING:
                return self._in_work(request, facts, before)
            if facts.is_same and before.status.is_settled and not _begins_again(before, retry=request.retry_failed):
                return Begun(BeginState.DONE, file=before)
        if request.run.archive.kind is ArchiveKind.REPROCESS:
            return self._decide_revision(request, facts)
        if job is None or job.id in self._lookup.deleted:
            return self._decide_new(request, facts)
        if job.status is JobStatus.SUBMITTED:
            return JobPlan(facts, job_states.claimed(job, new_lease(request.worker), self._clock.utc()), job)
        if before is not None and job.status is not JobStatus.COMPLETED:
            return self._decide_revision(request, facts)
        # The job was committed, but the ledger ended before it committed the file.
        self._archives.put(request.run, file_after(self.waiting_file(request.run, facts), job))
        return self.decide(request, replace(facts, before=request.run.files[facts.file.key]))

    def waiting_file(self, run: ArchiveRunState, facts: FileFacts) -> ArchiveFile:
        """The file as its source describes it now, waiting. If the content is the same, earlier attempts count."""
        file, before = facts.file, facts.before
        goes_on = facts.is_same and before is not None and before.status is FileStatus.WAITING
        return ArchiveFile(
            archive_id=run.archive.id,
            key=file.key,
            version=file.version,
            location=file.location,
            account=file.account,
            filename=file.filename,
            metadata=file.metadata,
            status=FileStatus.WAITING,
            updated_at=self._clock.utc(),
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            attempts=before.attempts if goes_on and before is not None else 0,
            transcription_id=file.transcription_id,
        )

    def leased(self, job: Job) -> Begun:
        """The answer for a file whose job was leased."""
        return Begun(BeginState.LEASED, Lease(job.id, job.attempt, job.worker or "", self._lease_secs))

    def _decide_new(self, request: BeginRequest, facts: FileFacts) -> Begun | JobPlan:
        now = self._clock.utc()
        job = job_states.submitted(0, now, facts.new)
        if facts.source is not None:
            return JobPlan(facts, job_states.with_cached_result(job, facts.source, now))
        if not facts.stored:
            return Begun(BeginState.NEEDS_BYTES)
        return JobPlan(facts, job_states.claimed(job, new_lease(request.worker), now))

    def _decide_revision(self, request: BeginRequest, facts: FileFacts) -> Begun | JobPlan:
        run, job, now = request.run, facts.job, self._clock.utc()
        if job is None or job.account != facts.file.account or job.id in self._lookup.deleted:
            return self._refuse(run, facts, FileStatus.SKIPPED, "no_transcription", "There is no such transcription.")
        if not job.status.is_final:
            return self._refuse(run, facts, FileStatus.FAILED, "unfinished", "The transcription is still being processed.")
        if job.revision and job.archive_id == run.archive.id and job.status is JobStatus.COMPLETED:
            self._archives.put(run, file_after(self.waiting_file(run, facts), job))
            return Begun(BeginState.DONE, file=run.files[facts.file.key])
        if self._archives.pending_revision(job.id) is not None:
            return self._held(job.id)
        include_current = run.archive.include_current
        if job.status is JobStatus.COMPLETED and job.engine_revision == request.engine_revision and not include_current:
            return self._refuse(run, facts, FileStatus.SKIPPED, "current", "The present engines made it.")
        attempts = self.waiting_file(run, facts).attempts
        waiting = job_states.next_revision(job, run.archive.id, facts.file.options, attempts)
        if facts.source is not None and facts.source.id != job.id and not include_current:
            return JobPlan(facts, job_states.with_cached_result(waiting, facts.source, now), job)
        if not facts.stored:
            if run.archive.kind is ArchiveKind.TRANSCRIBE:
                return Begun(BeginState.NEEDS_BYTES)
            return self._refuse(run, facts, FileStatus.FAILED, "no_audio", "Its recording is not in the store.")
        return JobPlan(facts, job_states.claimed(waiting, new_lease(request.worker), now), job)

    def _in_work(self, request: BeginRequest, facts: FileFacts, before: ArchiveFile) -> Begun:
        """The answer for a processing file, which is leased to the same worker, if it lost the answer, or to another
        one.
        """
        job_id = before.transcription_id or 0
        entry = self._live.get(job_id)
        job = request.run.pending_revisions.get(job_id) or (entry.job if entry is not None else None)
        is_own = job is not None and job.worker is not None and job.worker.startswith(f"{request.worker}.")
        if facts.is_same and job is not None and is_own:
            self._leases.renew(job.id, job.worker or "", working=False)
            return self.leased(job)
        return self._held(job_id)

    def _held(self, job_id: int) -> Begun:
        return Begun(BeginState.HELD, retry_after_secs=max(RETRY_SECS, self._leases.left(job_id)))

    def _refuse(self, run: ArchiveRunState, facts: FileFacts, status: FileStatus, reason: str, message: str) -> Begun:
        file = replace(self.waiting_file(run, facts), status=status, reason=reason, message=message)
        self._archives.put(run, file)
        return Begun(BeginState.DONE, file=file)


def _begins_again(before: ArchiveFile, *, retry: bool) -> bool:
    """Whether a finished file is begun again although its content is the same."""
    if before.status is FileStatus.COMPLETED or before.reason == DELETED:
        return False
    return retry or before.reason == CANCELLED_WITH_RUN
