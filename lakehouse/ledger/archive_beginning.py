"""Beginning files of an archive run: each becomes a job under a lease, an answered job, or a revision that is being made.

Jobs of runs are in history like any others, but never in the queue: only a run's own workers lease them, by batch. All of a
batch is one commit of events and one of files. A revision under work is no event: its transcription stays what it is until
the new revision is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from lakehouse.ledger import jobs
from lakehouse.ledger.archive_book import ArchiveBook, following
from lakehouse.ledger.archive_runs import DELETED, Run
from lakehouse.ledger.batches import BatchedChanges
from lakehouse.ledger.cache import ResultCache
from lakehouse.ledger.leases import Leases, new_lease
from lakehouse.ledger.upkeep import Maintenance
from lakehouse.objects import audio_key
from schemas.archives import CANCELLED_WITH_RUN, ArchiveFile, ArchiveKind, BeginState, Begun, FileStatus, Lease, SourceFile
from schemas.domain import Job, JobStatus, NewJob
from schemas.settings import JobSettings

_SOON_SECS = 1.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One file of a batch with what is known of it. ``source``: the job whose result answers it."""

    file: SourceFile
    new: NewJob
    stored: bool
    before: ArchiveFile | None
    job: Job | None
    source: Job | None

    @property
    def is_same(self) -> bool:
        """Whether the run knows this very content under this key."""
        return self.before is not None and self.before.sha256 == self.file.sha256


@dataclass(frozen=True, slots=True)
class _Plan:
    """A change to make: ``job`` is the one after it, its id 0 if it is new; ``base`` the one before it."""

    asked: _Asked
    job: Job
    base: Job | None = None

    @property
    def is_event(self) -> bool:
        """Whether history learns of it: not of a revision that is only leased."""
        return self.job.revision == 0 or self.job.status is JobStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class _Batch:
    """Who begins, and on which terms."""

    run: Run
    worker: str
    engine_revision: str
    retry_failed: bool


class ArchiveBeginning(BatchedChanges):
    """Part of `lakehouse.ledger.Ledger`."""

    _settings: JobSettings
    _leases: Leases
    _cache: ResultCache
    _maintenance: Maintenance
    _archives: ArchiveBook

    async def begin_files(
        self,
        archive_id: int,
        worker: str,
        files: Sequence[SourceFile],
        stored: Sequence[bool],
        engine_revision: str,
        retry_failed: bool,
    ) -> list[Begun]:
        """Lease, answer or refuse each file, in order; ``stored`` says whose bytes are in the store. Keys must differ.

        Raises NotFound, Conflict(code="archive_ended"), Unavailable.
        """
        batch = _Batch(self._archives.running(archive_id), worker, engine_revision, retry_failed)
        return await self._durably(self._begin(batch, files, stored))

    async def answered(self, questions: Sequence[NewJob]) -> list[bool]:
        """Whether an earlier result answers each; changes nothing."""
        return [source is not None for source in await self._sources(questions)]

    async def _begin(self, batch: _Batch, files: Sequence[SourceFile], stored: Sequence[bool]) -> list[Begun]:
        run = batch.run
        async with run.lock:
            self._archives.running(run.archive.id)
            asked = await self._asked(batch, files, stored)
            decided = _once_each([self._decide(batch, one) for one in asked])
            plans = {n: plan for n, plan in enumerate(decided) if isinstance(plan, _Plan)}
            carried_out = await self._carry_out(run, plans)
            await self._archives.flush()
            return [carried_out[n] if isinstance(one, _Plan) else one for n, one in enumerate(decided)]

    async def _asked(self, batch: _Batch, files: Sequence[SourceFile], stored: Sequence[bool]) -> list[_Asked]:
        run, ids = batch.run, [_job_id(batch.run, file) for file in files]
        new = [_new_job(run, file, batch.engine_revision) for file in files]
        jobs_of_files = await self._view.jobs({job_id for job_id in ids if job_id is not None})
        sources = await self._sources(new)
        return [
            _Asked(
                file=file,
                new=new[n],
                stored=stored[n],
                before=run.files.get(file.key),
                job=jobs_of_files.get(ids[n] or 0),
                source=sources[n],
            )
            for n, file in enumerate(files)
        ]

    async def _sources(self, questions: Sequence[NewJob]) -> list[Job | None]:
        """For each the finished job that answers it, in one reading."""
        candidates = [self._cache.find(new) for new in questions]
        found = await self._view.jobs({job_id for job_id in candidates if job_id is not None})
        sources = [found.get(job_id) if job_id is not None else None for job_id in candidates]
        return [
            source if source is not None and source.id not in self._deleted and jobs.answers(source, new) else None
            for source, new in zip(sources, questions, strict=True)
        ]

    def _decide(self, batch: _Batch, asked: _Asked) -> Begun | _Plan:
        before, job = asked.before, asked.job
        if before is not None:
            if before.reason == DELETED and before.version == asked.file.version:
                return Begun(BeginState.DONE, file=before)
            if before.status is FileStatus.PROCESSING:
                return self._held(batch, before, is_same=asked.is_same)
            if asked.is_same and before.status.is_settled and not _begins_again(before, retry=batch.retry_failed):
                return Begun(BeginState.DONE, file=before)
        if batch.run.archive.kind is ArchiveKind.REPROCESS:
            return self._decide_revision(batch, asked)
        if job is None or job.id in self._deleted:
            return self._decide_new(batch, asked)
        if job.status is JobStatus.SUBMITTED:
            return _Plan(asked, jobs.claimed(job, new_lease(batch.worker), self._clock.utc()), job)
        if before is not None and job.status is not JobStatus.COMPLETED:
            return self._decide_revision(batch, asked)
        # The ledger ended after it had made the job and before it had noted the file.
        self._archives.put(batch.run, following(self._as_file(batch.run, asked), job))
        return self._decide(batch, replace(asked, before=batch.run.files[asked.file.key]))

    def _decide_new(self, batch: _Batch, asked: _Asked) -> Begun | _Plan:
        now = self._clock.utc()
        job = jobs.submitted(0, now, asked.new)
        if asked.source is not None:
            return _Plan(asked, jobs.with_answer(job, asked.source, now))
        if not asked.stored:
            return Begun(BeginState.NEEDS_BYTES)
        return _Plan(asked, jobs.claimed(job, new_lease(batch.worker), now))

    def _decide_revision(self, batch: _Batch, asked: _Asked) -> Begun | _Plan:
        run, job, now = batch.run, asked.job, self._clock.utc()
        if job is None or job.account != asked.file.account or job.id in self._deleted:
            return self._refuse(run, asked, FileStatus.SKIPPED, "no_transcription", "There is no such transcription.")
        if not job.status.is_final:
            return self._refuse(run, asked, FileStatus.FAILED, "unfinished", "The transcription is still being made.")
        if job.revision and job.archive_id == run.archive.id and job.status is JobStatus.COMPLETED:
            self._archives.put(run, following(self._as_file(run, asked), job))
            return Begun(BeginState.DONE, file=run.files[asked.file.key])
        if self._archives.revising(job.id) is not None:
            return Begun(BeginState.HELD, retry_after_secs=max(_SOON_SECS, self._leases.left(job.id)))
        again = run.archive.include_current
        if job.status is JobStatus.COMPLETED and job.engine_revision == batch.engine_revision and not again:
            return self._refuse(run, asked, FileStatus.SKIPPED, "current", "The present engines made it.")
        waiting = jobs.revising(job, run.archive.id, asked.file.options, self._as_file(run, asked).attempts)
        if asked.source is not None and asked.source.id != job.id and not again:
            return _Plan(asked, jobs.with_answer(waiting, asked.source, now), job)
        if not asked.stored:
            if run.archive.kind is ArchiveKind.TRANSCRIBE:
                return Begun(BeginState.NEEDS_BYTES)
            return self._refuse(run, asked, FileStatus.FAILED, "no_audio", "Its recording is not in the store.")
        return _Plan(asked, jobs.claimed(waiting, new_lease(batch.worker), now), job)

    def _held(self, batch: _Batch, before: ArchiveFile, *, is_same: bool) -> Begun:
        """A file that is being worked on: the same worker's, which lost the answer, or another's."""
        job_id = before.transcription_id or 0
        entry = self._live.get(job_id)
        job = batch.run.revising.get(job_id) or (entry.job if entry is not None else None)
        if is_same and job is not None and job.worker is not None and job.worker.startswith(f"{batch.worker}."):
            self._leases.renew(job.id, job.worker)
            return self._leased(job)
        return Begun(BeginState.HELD, retry_after_secs=max(_SOON_SECS, self._leases.left(job_id)))

    def _refuse(self, run: Run, asked: _Asked, status: FileStatus, reason: str, message: str) -> Begun:
        file = replace(self._as_file(run, asked), status=status, reason=reason, message=message)
        self._archives.put(run, file)
        return Begun(BeginState.DONE, file=file)

    async def _carry_out(self, run: Run, plans: Mapping[int, _Plan]) -> dict[int, Begun]:
        """Commit what was decided; a job that changed meanwhile is to be asked for again."""
        bases = {plan.base.id: plan.base for plan in plans.values() if plan.base is not None and plan.is_event}
        stale = {job.id: job for plan in plans.values() if (job := self._stale(plan)) is not None}
        async with AsyncExitStack() as stack:
            for key in {plan.job.audio_key for plan in plans.values() if plan.base is None}:
                await stack.enter_async_context(self._maintenance.admitting(key))
            entries = await stack.enter_async_context(self._locked([*bases.values(), *stale.values()]))
            kept = {n: p for n, p in plans.items() if p.base is None or not p.is_event or self._is_still(entries, p.base)}
            gone = [jobs.cancelled(job, self._clock.utc()) for job in stale.values() if self._is_still(entries, job)]
            placed = {n: replace(plan, job=self._placed(plan)) for n, plan in kept.items()}
            await self._commit_plans(run, placed, gone)
        held = Begun(BeginState.HELD, retry_after_secs=_SOON_SECS)
        return {n: self._begun(run, placed[n]) if n in placed else held for n in plans}

    async def _commit_plans(self, run: Run, plans: Mapping[int, _Plan], gone: Sequence[Job]) -> None:
        events = await self._commit_batch([*(plan.job for plan in plans.values() if plan.is_event), *gone])
        for plan in plans.values():
            file = following(self._as_file(run, plan.asked), plan.job)
            self._archives.put(run, file if plan.is_event else replace(file, attempts=file.attempts + 1))
            if not plan.is_event:
                run.revising[plan.job.id] = plan.job
                self._leases.grant(plan.job.id, plan.job.worker or "")
        for seq, job in events:
            self._learn(seq, job)

    def _stale(self, plan: _Plan) -> Job | None:
        """The waiting job of what the file held before its content changed: nobody will ask for it again."""
        before = plan.asked.before
        if plan.base is not None or before is None or before.transcription_id is None:
            return None
        entry = self._live.get(before.transcription_id)
        return entry.job if entry is not None and entry.job.status is JobStatus.SUBMITTED else None

    def _placed(self, plan: _Plan) -> Job:
        """The plan's job with an id, if it is new."""
        if plan.base is not None:
            return plan.job
        job_id, created_at = self._ids.next()
        return replace(plan.job, id=job_id, created_at=created_at, updated_at=created_at)

    def _as_file(self, run: Run, asked: _Asked) -> ArchiveFile:
        """The file as it is told now, waiting; a revision's attempts count on while it is the same work."""
        file, before = asked.file, asked.before
        goes_on = asked.is_same and before is not None and before.status is FileStatus.WAITING
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

    def _begun(self, run: Run, plan: _Plan) -> Begun:
        if plan.job.status is JobStatus.PROCESSING:
            return self._leased(plan.job)
        return Begun(BeginState.DONE, file=run.files[plan.asked.file.key])

    def _leased(self, job: Job) -> Begun:
        return Begun(BeginState.LEASED, Lease(job.id, job.attempt, job.worker or "", self._settings.lease_secs))


def _once_each(decided: Sequence[Begun | _Plan]) -> list[Begun | _Plan]:
    """Of plans for one transcription, which two keys of a batch may name, only the first."""
    seen: set[int] = set()
    found: list[Begun | _Plan] = []
    for one in decided:
        base = one.base if isinstance(one, _Plan) else None
        found.append(one if base is None or base.id not in seen else Begun(BeginState.HELD, retry_after_secs=_SOON_SECS))
        if base is not None:
            seen.add(base.id)
    return found


def _begins_again(before: ArchiveFile, *, retry: bool) -> bool:
    """Whether a settled file with the same content is work again."""
    if before.status is FileStatus.COMPLETED or before.reason == DELETED:
        return False
    return retry or before.reason == CANCELLED_WITH_RUN


def _job_id(run: Run, file: SourceFile) -> int | None:
    """The job a file is or was, as far as the run knows."""
    if file.transcription_id is not None:
        return file.transcription_id
    before = run.files.get(file.key)
    if before is not None and before.sha256 == file.sha256 and before.transcription_id is not None:
        return before.transcription_id
    return run.loose.get(run.submission(file))


def _new_job(run: Run, file: SourceFile, engine_revision: str) -> NewJob:
    return NewJob(
        account=file.account,
        filename=file.filename,
        content_type=file.content_type,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        audio_key=audio_key(file.account, file.sha256),
        options=file.options,
        use_cache=True,
        engine_revision=engine_revision,
        submission=run.submission(file),
        archive_id=run.archive.id,
    )
