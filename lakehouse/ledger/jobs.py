"""The states of a job, as pure functions from a job to the job after a change.

    submitted ──claim──▶ processing ──complete──▶ completed        any ──delete──▶ deleted
        ▲                    │  ├──── fail ─────▶ failed          submitted, processing ──cancel──▶ cancelled
        └─ release, lease ───┘  │
           ran out, retryable   └─ after the last attempt
           fail

A final job stays final while it is worked on again: its next revision is made aside (`revising`), and counts from the
event that completes it.

Every change gives a new full row. A change that was made already gives the very same job, so that callers may repeat it;
one that comes from a lease which no longer holds raises Conflict.
"""

from __future__ import annotations

import datetime as dt
import math
import secrets
from dataclasses import replace

from schemas.domain import Job, JobOptions, JobStatus, NewJob, Outcome
from schemas.errors import Conflict


def submitted(job_id: int, created_at: dt.datetime, new: NewJob) -> Job:
    """A job as accepted."""
    return Job(
        id=job_id,
        account=new.account,
        status=JobStatus.SUBMITTED,
        created_at=created_at,
        updated_at=created_at,
        filename=new.filename,
        content_type=new.content_type,
        sha256=new.sha256,
        size_bytes=new.size_bytes,
        audio_key=new.audio_key,
        options=new.options,
        use_cache=new.use_cache,
        import_key=new.submission,
        archive_id=new.archive_id,
    )


def revising(job: Job, archive_id: int, options: JobOptions, attempts: int) -> Job:
    """The next revision of a final job, waiting, as an archive run makes it; it was started ``attempts`` times.

    Attempts count on through all revisions, so that no two write to one result object.
    """
    return replace(
        job,
        status=JobStatus.SUBMITTED,
        options=options,
        cached=False,
        cached_from=None,
        attempt=job.attempt + attempts,
        worker=None,
        error_message=None,
        archive_id=archive_id,
        revision=job.revision + 1,
    )


def answered(job_id: int, created_at: dt.datetime, new: NewJob, source: Job) -> Job:
    """A job completed at once with the result of ``source``, for nothing."""
    return with_answer(submitted(job_id, created_at, new), source, created_at)


def with_answer(job: Job, source: Job, now: dt.datetime) -> Job:
    """A waiting job completed with the result of ``source``."""
    return replace(
        job,
        status=JobStatus.COMPLETED,
        updated_at=now,
        cached=True,
        cached_from=source.id,
        engine_revision=source.engine_revision,
        result_key=source.result_key,
        playback_key=source.playback_key,
        audio_duration_secs=source.audio_duration_secs,
        audio_format=source.audio_format,
        processing_secs=source.processing_secs,
        language=source.language,
        num_chunks=source.num_chunks,
        num_segments=source.num_segments,
        num_speakers=source.num_speakers,
        cost_usd=0.0,
    )


def answers(source: Job, new: NewJob) -> bool:
    """Whether the result of ``source`` is the answer to ``new``."""
    asked = (new.account, new.sha256, new.options, new.engine_revision)
    found = (source.account, source.sha256, source.options, source.engine_revision)
    return source.status is JobStatus.COMPLETED and not source.cached and asked == found


def claimed(job: Job, lease: str, now: dt.datetime) -> Job:
    """The next attempt begins."""
    if job.status is not JobStatus.SUBMITTED:
        raise Conflict(f"job {job.id} is {job.status}, not waiting", code="not_waiting")
    return replace(job, status=JobStatus.PROCESSING, updated_at=now, attempt=job.attempt + 1, worker=lease)


def completed(job: Job, lease: str, outcome: Outcome, now: dt.datetime, usd_per_audio_hour: float) -> Job:
    """The worker that holds ``lease`` is done."""
    if job.status is JobStatus.COMPLETED and job.worker == lease:
        return job
    check_lease(job, lease)
    return replace(
        job,
        status=JobStatus.COMPLETED,
        updated_at=now,
        engine_revision=outcome.engine_revision,
        result_key=outcome.result_key,
        playback_key=outcome.playback_key,
        audio_duration_secs=outcome.audio_duration_secs,
        audio_format=outcome.audio_format,
        processing_secs=outcome.processing_secs,
        language=outcome.language,
        num_chunks=outcome.num_chunks,
        num_segments=outcome.num_segments,
        num_speakers=outcome.num_speakers,
        cost_usd=cost_usd(outcome.audio_duration_secs, usd_per_audio_hour),
    )


def failed(job: Job, lease: str, message: str, now: dt.datetime, *, retryable: bool, max_attempts: int) -> Job:
    """The worker that holds ``lease`` gives up; while attempts are left, a retryable failure only returns the job."""
    if job.worker == lease and (job.status is JobStatus.FAILED or (retryable and job.status is JobStatus.SUBMITTED)):
        return job
    check_lease(job, lease)
    if retryable and job.attempt < max_attempts:
        return replace(job, status=JobStatus.SUBMITTED, updated_at=now)
    return replace(job, status=JobStatus.FAILED, updated_at=now, error_message=message)


def released(job: Job, lease: str, now: dt.datetime) -> Job:
    """The worker that holds ``lease`` hands the job back untouched; that was no attempt."""
    if job.status is JobStatus.SUBMITTED and job.worker == lease:
        return job
    check_lease(job, lease)
    return replace(job, status=JobStatus.SUBMITTED, updated_at=now, attempt=job.attempt - 1)


def expired(job: Job, lease: str, now: dt.datetime, max_attempts: int, *, taken_up: bool) -> Job:
    """The lease ran out: back to the queue, or failed after the last attempt. A job that moved on stays as it is.

    One that was not ``taken_up`` never began, so it was no attempt.
    """
    if job.status is not JobStatus.PROCESSING or job.worker != lease:
        return job
    if not taken_up:
        return released(job, lease, now)
    if job.attempt < max_attempts:
        return replace(job, status=JobStatus.SUBMITTED, updated_at=now)
    times = "once" if job.attempt == 1 else f"{job.attempt} times"
    message = (
        f"The recording could not be processed: work on it was started {times} and stopped each time without a result."
    )
    return replace(job, status=JobStatus.FAILED, updated_at=now, error_message=message)


def cancelled(job: Job, now: dt.datetime) -> Job:
    """The client wants no more work on it."""
    if job.status is JobStatus.CANCELLED:
        return job
    if job.status.is_final:
        raise Conflict(f"transcription {job.id} is {job.status}; there is nothing to cancel", code="already_final")
    return replace(job, status=JobStatus.CANCELLED, updated_at=now)


def deleted(job: Job, now: dt.datetime) -> Job:
    """The client wants it gone: of what it said of the recording only the keys of objects stay, until they are erased."""
    return replace(
        job, status=JobStatus.DELETED, updated_at=now, filename="", error_message=None, worker=None, import_key=None
    )


def cost_usd(duration_secs: float, usd_per_audio_hour: float) -> float:
    """Price of a recording, billed by the second: a begun second counts. Durations are exact to the millisecond."""
    return round(math.ceil(round(duration_secs, 3)) * usd_per_audio_hour / 3600, 6)


def check_lease(job: Job, lease: str) -> None:
    """Raises Conflict(code="lease_lost") unless ``lease`` is the one the job is worked on under."""
    held = secrets.compare_digest((job.worker or "").encode(), lease.encode())
    if job.status is not JobStatus.PROCESSING or not held:
        raise Conflict(f"the lease on job {job.id} is lost; the job is {job.status}", code="lease_lost")
