"""Begins files of an archive run.

Each file becomes a job under a lease, a job answered from the cache, or a pending revision. Jobs of runs are in history
like other jobs, but never in the queue: only the run's own workers lease them, by batch. A batch is one commit of job
events and one of files. A pending revision has no event: its transcription is unchanged until the new revision is
complete.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from lakehouse.ledger import job_states
from lakehouse.ledger.archives.begin_decisions import RETRY_SECS, BeginDecisions, BeginRequest, FileFacts, JobPlan
from lakehouse.ledger.archives.run_state import ArchiveRunState
from lakehouse.ledger.archives.store import ArchiveStore, file_after
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.leases import Leases
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.result_cache import ResultCache
from lakehouse.storage.objects import audio_key
from schemas.archives import BeginState, Begun, SourceFile
from schemas.domain import Job, JobStatus, NewJob, Seconds

_UNSURE_JOBS = 10_000


class ArchiveBegin:
    """Begins files, and finds recordings that have a cached result. The contract is `ArchiveLedger`."""

    def __init__(
        self,
        clock: Clock,
        tasks: ChangeTasks,
        store: JobStore,
        live: LiveJobs,
        lookup: JobLookup,
        leases: Leases,
        cache: ResultCache,
        guard: ObjectGuard,
        archives: ArchiveStore,
        lease_secs: Seconds,
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._store = store
        self._live = live
        self._lookup = lookup
        self._leases = leases
        self._cache = cache
        self._guard = guard
        self._archives = archives
        self._unsure: OrderedDict[tuple[str, str], tuple[int, dt.datetime]] = OrderedDict()
        """Ids and times of new jobs by account and submission whose commit failed. Their rows may be in the table
        nevertheless.
        """
        self._decisions = BeginDecisions(clock, live, lookup, leases, archives, lease_secs)

    async def begin_files(
        self,
        archive_id: int,
        worker: str,
        files: Sequence[SourceFile],
        stored: Sequence[bool],
        engine_revision: str,
        retry_failed: bool,
    ) -> list[Begun]:
        """See `ArchiveLedger.begin_files`."""
        request = BeginRequest(self._archives.running(archive_id), worker, engine_revision, retry_failed)
        return await self._tasks.run(self._begin(request, files, stored))

    async def has_cached_result(self, recordings: Sequence[NewJob]) -> list[bool]:
        """See `ArchiveLedger.has_cached_result`."""
        return [source is not None for source in await self._cached_sources(recordings)]

    async def _begin(self, request: BeginRequest, files: Sequence[SourceFile], stored: Sequence[bool]) -> list[Begun]:
        run = request.run
        async with run.lock:
            self._archives.running(run.archive.id)
            facts = await self._facts(request, files, stored)
            decided = _once_each([self._decisions.decide(request, one) for one in facts])
            plans = {n: plan for n, plan in enumerate(decided) if isinstance(plan, JobPlan)}
            begun = await self._carry_out(run, plans)
            await self._archives.flush()
            return [begun[n] if isinstance(one, JobPlan) else one for n, one in enumerate(decided)]

    async def _facts(self, request: BeginRequest, files: Sequence[SourceFile], stored: Sequence[bool]) -> list[FileFacts]:
        run = request.run
        ids = [_job_id(run, file) for file in files]
        new = [_new_job(run, file, request.engine_revision) for file in files]
        jobs_of_files = await self._lookup.jobs({job_id for job_id in ids if job_id is not None})
        sources = await self._cached_sources(new)
        return [
            FileFacts(
                file=file,
                new=new[n],
                stored=stored[n],
                before=run.files.get(file.key),
                job=jobs_of_files.get(ids[n] or 0),
                source=sources[n],
            )
            for n, file in enumerate(files)
        ]

    async def _cached_sources(self, recordings: Sequence[NewJob]) -> list[Job | None]:
        """For each recording the earlier job that has its result, with one read of the table."""
        candidates = [self._cache.find(new) for new in recordings]
        found = await self._lookup.jobs({job_id for job_id in candidates if job_id is not None})
        sources = [found.get(job_id) if job_id is not None else None for job_id in candidates]
        return [
            source if source is not None and self._has_result(source, new) else None
            for source, new in zip(sources, recordings, strict=True)
        ]

    def _has_result(self, source: Job, new: NewJob) -> bool:
        return source.id not in self._lookup.deleted and job_states.is_cached_result_for(source, new)

    async def _carry_out(self, run: ArchiveRunState, plans: Mapping[int, JobPlan]) -> dict[int, Begun]:
        """Commit the plans, by number of the file.

        For a job that changed since it was read, the worker must ask again.
        """
        bases = {plan.base.id: plan.base for plan in plans.values() if plan.base is not None and plan.is_event}
        stale = {job.id: job for plan in plans.values() if (job := self._stale(plan)) is not None}
        async with AsyncExitStack() as stack:
            for key in {plan.job.audio_key for plan in plans.values() if plan.base is None}:
                await stack.enter_async_context(self._guard.admitting(key))
            entries = await stack.enter_async_context(self._store.locked([*bases.values(), *stale.values()]))
            valid = {
                n: plan
                for n, plan in plans.items()
                if plan.base is None or not plan.is_event or self._store.is_unchanged(entries, plan.base)
            }
            now = self._clock.utc()
            gone = [job_states.cancelled(job, now) for job in stale.values() if self._store.is_unchanged(entries, job)]
            numbered = {n: replace(plan, job=self._with_id(plan)) for n, plan in valid.items()}
            await self._commit_plans(run, numbered, gone)
            for plan in numbered.values():
                self._unsure.pop(_submission(plan), None)
        held = Begun(BeginState.HELD, retry_after_secs=RETRY_SECS)
        return {n: self._begun(run, numbered[n]) if n in numbered else held for n in plans}

    async def _commit_plans(self, run: ArchiveRunState, plans: Mapping[int, JobPlan], gone: Sequence[Job]) -> None:
        events = await self._store.commit([*(plan.job for plan in plans.values() if plan.is_event), *gone])
        for plan in plans.values():
            file = file_after(self._decisions.waiting_file(run, plan.facts), plan.job)
            self._archives.put(run, file if plan.is_event else replace(file, attempts=file.attempts + 1))
            if not plan.is_event:
                run.pending_revisions[plan.job.id] = plan.job
                self._leases.grant(plan.job.id, plan.job.worker or "")
        for seq, job in events:
            self._store.apply_committed(seq, job)

    def _stale(self, plan: JobPlan) -> Job | None:
        """The waiting job of a file whose content changed since: no worker will ask for it again."""
        before = plan.facts.before
        if plan.base is not None or before is None or before.transcription_id is None:
            return None
        entry = self._live.get(before.transcription_id)
        return entry.job if entry is not None and entry.job.status is JobStatus.SUBMITTED else None

    def _with_id(self, plan: JobPlan) -> Job:
        """The plan's job, with an id if it is new."""
        if plan.base is not None:
            return plan.job
        # A file that is begun again after a commit of unknown outcome keeps its id. So it is one job, whichever commit is
        # in the table.
        job_id, created_at = self._unsure.get(_submission(plan)) or self._store.next_id()
        self._unsure[_submission(plan)] = job_id, created_at
        if len(self._unsure) > _UNSURE_JOBS:
            self._unsure.popitem(last=False)
        return replace(plan.job, id=job_id, created_at=created_at, updated_at=created_at)

    def _begun(self, run: ArchiveRunState, plan: JobPlan) -> Begun:
        if plan.job.status is JobStatus.PROCESSING:
            return self._decisions.leased(plan.job)
        return Begun(BeginState.DONE, file=run.files[plan.facts.file.key])


def _submission(plan: JobPlan) -> tuple[str, str]:
    return plan.job.account, plan.job.import_key or ""


def _once_each(decided: Sequence[Begun | JobPlan]) -> list[Begun | JobPlan]:
    """The plans, with one plan for each transcription: two keys of a batch may name the same transcription."""
    planned: set[int] = set()
    found: list[Begun | JobPlan] = []
    for one in decided:
        base = one.base if isinstance(one, JobPlan) else None
        again = base is not None and base.id in planned
        found.append(Begun(BeginState.HELD, retry_after_secs=RETRY_SECS) if again else one)
        if base is not None:
            planned.add(base.id)
    return found


def _job_id(run: ArchiveRunState, file: SourceFile) -> int | None:
    """The job that a file is or was, if the run knows it."""
    if file.transcription_id is not None:
        return file.transcription_id
    before = run.files.get(file.key)
    if before is not None and before.sha256 == file.sha256 and before.transcription_id is not None:
        return before.transcription_id
    return run.unassigned_jobs.get(run.submission(file))


def _new_job(run: ArchiveRunState, file: SourceFile, engine_revision: str) -> NewJob:
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
