"""Accepts, leases and ends jobs, called by gateways and workers."""

from __future__ import annotations

import math
from collections import OrderedDict

import polars as pl

from lakehouse.ledger import job_states
from lakehouse.ledger.account_loads import AccountLoad, AccountLoads
from lakehouse.ledger.account_shares import AccountShares
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_store import JobStore
from lakehouse.ledger.leases import Leases, new_lease
from lakehouse.ledger.live_jobs import LiveJob, LiveJobs
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.ledger.queue import JobQueue
from lakehouse.ledger.result_cache import ResultCache
from lakehouse.storage.objects import audio_key
from schemas.domain import Claim, FetchedRecording, Job, JobStatus, NewJob, Outcome, Seconds, Transcript
from schemas.errors import Unavailable
from schemas.settings import JobSettings

_UNSURE_JOBS = 10_000


class JobQueueService:
    """Accepts recordings, leases jobs to workers, and records how they end. The contract is `JobLedger`."""

    def __init__(
        self,
        settings: JobSettings,
        clock: Clock,
        tasks: ChangeTasks,
        store: JobStore,
        live: LiveJobs,
        lookup: JobLookup,
        queue: JobQueue,
        leases: Leases,
        cache: ResultCache,
        guard: ObjectGuard,
        loads: AccountLoads,
        shares: AccountShares,
    ) -> None:
        self._loads = loads
        self._shares = shares
        self._settings = settings
        self._clock = clock
        self._tasks = tasks
        self._store = store
        self._live = live
        self._lookup = lookup
        self._queue = queue
        self._leases = leases
        self._cache = cache
        self._guard = guard
        self._unsure: OrderedDict[tuple[str, str], Job] = OrderedDict()
        """New jobs by account and submission whose commit is unfinished or failed. Their rows may be in the table
        nevertheless.
        """
        self._promised: set[int] = set()
        """New jobs that are being committed together with the claim of a waiting worker."""
        self._leased_ahead: dict[int, str] = {}
        """Leases of those jobs by job id, until a worker has received them."""

    async def create(self, new: NewJob) -> Job:
        """See `JobLedger.create`."""
        if new.is_repeated and (made := await self._lookup.submitted_as(new.account, new.submission)) is not None:
            return made
        source = await self._cached_source(new) if new.use_cache and not new.fetch_lease else None
        return await self._tasks.run(self._create(new, source))

    async def fetched(self, job_id: int, lease: str, recording: FetchedRecording) -> Job:
        """See `JobLedger.fetched`."""
        source = await self._cached_for(job_id, recording)
        return await self._tasks.run(self._take_fetched(job_id, lease, recording, source))

    async def claim(self, worker: str, wait_secs: Seconds) -> Claim | None:
        """See `JobLedger.claim`."""
        deadline = self._clock.monotonic() + wait_secs
        while True:
            job_id = await self._queue.take(max(0.0, deadline - self._clock.monotonic()), worker)
            if job_id is None:
                return None
            entry, lease = self._live.get(job_id), self._leased_ahead.pop(job_id, None)
            if entry is not None and lease is not None and entry.job.status is JobStatus.PROCESSING:
                if entry.job.worker == lease:
                    return Claim(entry.job, lease, self._settings.lease_secs)
            elif entry is not None and entry.job.status is JobStatus.SUBMITTED and self._shares.take(entry.job):
                return await self._tasks.run(self._start(entry, new_lease(worker)))

    async def load_of(self, account: str, limit_secs: Seconds = math.inf) -> AccountLoad:
        """See `JobLedger.load_of`."""
        return self._loads.of(account, limit_secs)

    async def renew(self, job_id: int, lease: str) -> Seconds:
        """See `JobLedger.renew`."""
        self._leases.renew(job_id, lease)
        return self._settings.lease_secs

    async def complete(self, job_id: int, lease: str, outcome: Outcome, transcript: Transcript | None = None) -> Job:
        """See `JobLedger.complete`."""
        price = self._settings.usd_per_audio_hour
        done = await self._store.change(
            job_id, lambda job: job_states.completed(job, lease, outcome, self._clock.utc(), price), transcript
        )
        if done.options.redaction.drops_original:
            await self._tasks.run(self._drop_recording(done))
        return done

    async def _drop_recording(self, done: Job) -> None:
        """Erase the recording of a job that no longer names it, unless another job names it."""
        key = audio_key(done.account, done.sha256)

        async def unneeded() -> set[str]:
            others = await self._lookup.matching(done.account, pl.col("sha256") == done.sha256)
            needed = any(job.id != done.id and job.audio_key == key and not self._lookup.is_gone(job) for job in others)
            return set() if needed else {key}

        await self._guard.erase(key, unneeded)

    async def fail(self, job_id: int, lease: str, message: str, retryable: bool, code: str = "transcription_failed") -> Job:
        """See `JobLedger.fail`."""
        attempts = self._settings.max_attempts
        return await self._store.change(
            job_id,
            lambda job: job_states.failed(
                job, lease, message, code, self._clock.utc(), retryable=retryable, max_attempts=attempts
            ),
        )

    async def release(self, job_id: int, lease: str) -> Job:
        """See `JobLedger.release`."""
        return await self._store.change(job_id, lambda job: job_states.released(job, lease, self._clock.utc()))

    async def _create(self, new: NewJob, source: Job | None) -> Job:
        async with self._guard.admitting(new.audio_key):
            made = self._live.submitted_as(new.account, new.submission)
            if made is None and new.join:
                made = self._live.under_way(new)
            if made is not None:
                return made
            if new.submission is None:
                job = self._new_job(new, source)
                await self._add(job)
                return job
            # A submission that is sent again keeps its id. So it is one job, whichever of its commits is in the table.
            submission = (new.account, new.submission)
            job = self._unsure.get(submission) or self._new_job(new, source)
            self._unsure[submission] = job
            if len(self._unsure) > _UNSURE_JOBS:
                self._unsure.popitem(last=False)
            await self._add(job)
            self._unsure.pop(submission, None)
        return job

    async def _add(self, job: Job) -> None:
        """Commit a new job, together with its claim if a worker waits for one: the work then begins one commit earlier."""
        worker = self._queue.waiting_worker(len(self._promised))
        if worker is None or job.status is not JobStatus.SUBMITTED or not self._shares.reserve(job):
            return await self._store.add(job)
        lease = new_lease(worker)
        self._promised.add(job.id)
        self._leased_ahead[job.id] = lease
        try:
            await self._store.add(job, job_states.claimed(job, lease, self._clock.utc()))
        except BaseException:
            self._leased_ahead.pop(job.id, None)
            self._shares.give_back(job)
            raise
        finally:
            self._promised.discard(job.id)

    async def _take_fetched(self, job_id: int, lease: str, recording: FetchedRecording, source: Job | None) -> Job:
        def taken(job: Job) -> Job:
            now = self._clock.utc()
            found = job_states.fetched(job, lease, recording, now)
            is_new = found is not job and source is not None and source.id not in self._lookup.deleted
            return job_states.with_cached_result(found, source, now) if is_new and source is not None else found

        async with self._guard.admitting(recording.audio_key):
            return await self._store.change(job_id, taken)

    async def _cached_for(self, job_id: int, recording: FetchedRecording) -> Job | None:
        job = await self._lookup.job(job_id)
        if job is None or not job.use_cache:
            return None
        return await self._cached_source(
            NewJob(
                job.account,
                job.filename,
                job.content_type,
                recording.sha256,
                recording.size_bytes,
                recording.audio_key,
                job.options,
                job.use_cache,
                recording.engine_revision,
            )
        )

    def _new_job(self, new: NewJob, source: Job | None) -> Job:
        job_id, created_at = self._store.next_id()
        if new.fetch_lease:
            return job_states.fetching(job_id, created_at, new)
        if source is None or source.id in self._lookup.deleted:
            return job_states.submitted(job_id, created_at, new)
        return job_states.completed_from_cache(job_id, created_at, new, source)

    async def _start(self, entry: LiveJob, lease: str) -> Claim:
        try:
            job = await self._store.change_live(entry, lambda job: job_states.claimed(job, lease, self._clock.utc()))
        except Unavailable:
            self._queue.put(entry.job.id)
            self._shares.give_back(entry.job)
            raise
        return Claim(job, lease, self._settings.lease_secs)

    async def _cached_source(self, new: NewJob) -> Job | None:
        candidate = self._cache.find(new)
        source = await self._lookup.job(candidate) if candidate is not None else None
        return source if source is not None and job_states.is_cached_result_for(source, new) else None
