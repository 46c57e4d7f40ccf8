"""The states of a job, as pure functions from a job to the job after a change.

    submitted ──claim──▶ processing ──complete──▶ completed        any ──delete──▶ deleted
        ▲                    │  ├──── fail ─────▶ failed          submitted, processing ──cancel──▶ cancelled
        └─ release, expired ─┘  │
           lease, retryable     └─ after the last attempt
           fail

A job whose recording is fetched from a URL begins as processing, without ``sha256``, under the lease of the gateway that
fetches it. `fetched` makes it submitted.

A final job stays final while an archive run transcribes it again: its `next_revision` is a job of its own in memory, and
replaces it with the event that completes the revision.

Every change gives a new full row. A change that was already made returns the same object, so callers may repeat it. A
change under a lease that no longer holds raises Conflict.
"""

from __future__ import annotations

import datetime as dt
import math
import secrets
from dataclasses import replace

from schemas.domain import AS_SPOKEN, FetchedRecording, Job, JobOptions, JobStatus, NewJob, Outcome
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


def fetching(job_id: int, created_at: dt.datetime, new: NewJob) -> Job:
    """A job as accepted whose recording is still fetched, under ``new.fetch_lease``; no attempt has begun."""
    return replace(submitted(job_id, created_at, new), status=JobStatus.PROCESSING, worker=new.fetch_lease)


def fetched(job: Job, lease: str, recording: FetchedRecording, now: dt.datetime) -> Job:
    """The holder of ``lease`` delivers the recording; the job waits. Raises Conflict(code="lease_lost")."""
    if job.sha256 == recording.sha256 and job.status is not JobStatus.CANCELLED:
        return job
    check_lease(job, lease)
    return replace(
        job,
        status=JobStatus.SUBMITTED,
        updated_at=now,
        worker=None,
        sha256=recording.sha256,
        size_bytes=recording.size_bytes,
        audio_key=recording.audio_key,
    )


def next_revision(job: Job, archive_id: int, options: JobOptions, attempts: int) -> Job:
    """The next revision of a final job, waiting, for an archive run.

    The revision was started ``attempts`` times before. Attempts are numbered through all revisions, so no two attempts
    write to one result object.
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
        error_code=None,
        archive_id=archive_id,
        revision=job.revision + 1,
    )


def completed_from_cache(job_id: int, created_at: dt.datetime, new: NewJob, source: Job) -> Job:
    """A job completed at once with the result of ``source``, free of charge."""
    return with_cached_result(submitted(job_id, created_at, new), source, created_at)


def with_cached_result(job: Job, source: Job, now: dt.datetime) -> Job:
    """A waiting job completed with the result of ``source``."""
    return replace(
        job,
        status=JobStatus.COMPLETED,
        updated_at=now,
        audio_key="" if job.options.redaction.drops_original else job.audio_key,
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
        engine_secs=source.engine_secs,
        warnings=source.warnings,
        cost_usd=0.0,
    )


def is_cached_result_for(source: Job, new: NewJob) -> bool:
    """Whether ``source`` was computed from the account's same recording, with the same options and engines."""
    asked = (new.account, new.sha256, new.options, new.engine_revision)
    found = (source.account, source.sha256, source.options, source.engine_revision)
    return source.status is JobStatus.COMPLETED and not source.cached and asked == found


def claimed(job: Job, lease: str, now: dt.datetime) -> Job:
    """The next attempt begins under ``lease``. Raises Conflict(code="not_waiting")."""
    if job.status is not JobStatus.SUBMITTED:
        raise Conflict(f"job {job.id} is {job.status}, not waiting", code="not_waiting")
    return replace(job, status=JobStatus.PROCESSING, updated_at=now, attempt=job.attempt + 1, worker=lease)


def completed(job: Job, lease: str, outcome: Outcome, now: dt.datetime, usd_per_audio_hour: float) -> Job:
    """The worker that holds ``lease`` delivers a result. Raises Conflict(code="lease_lost")."""
    if job.status is JobStatus.COMPLETED and job.worker == lease:
        return job
    check_lease(job, lease)
    return replace(
        job,
        status=JobStatus.COMPLETED,
        updated_at=now,
        audio_key="" if job.options.redaction.drops_original else job.audio_key,
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
        engine_secs=outcome.engine_secs,
        warnings=outcome.warnings,
        cost_usd=cost_usd(outcome.audio_duration_secs, usd_per_audio_hour),
    )


def failed(job: Job, lease: str, message: str, code: str, now: dt.datetime, *, retryable: bool, max_attempts: int) -> Job:
    """The worker that holds ``lease`` gives up. While attempts are left, a retryable failure returns the job to the queue.

    Raises Conflict(code="lease_lost").
    """
    if job.worker == lease and (job.status is JobStatus.FAILED or (retryable and job.status is JobStatus.SUBMITTED)):
        return job
    check_lease(job, lease)
    if retryable and job.attempt < max_attempts:
        return replace(job, status=JobStatus.SUBMITTED, updated_at=now)
    return replace(job, status=JobStatus.FAILED, updated_at=now, error_message=message, error_code=code)


def released(job: Job, lease: str, now: dt.datetime) -> Job:
    """The worker that holds ``lease`` returns the job unfinished; it does not count as an attempt.

    Raises Conflict(code="lease_lost").
    """
    if job.status is JobStatus.SUBMITTED and job.worker == lease:
        return job
    check_lease(job, lease)
    return replace(job, status=JobStatus.SUBMITTED, updated_at=now, attempt=job.attempt - 1)


def expired(job: Job, lease: str, now: dt.datetime, max_attempts: int, *, was_used: bool) -> Job:
    """The lease expired: back to the queue, or failed after the last attempt.

    A job that changed since is not changed. A job whose recording was still being fetched fails.

    A worker that made no request under the lease may never have received the claim, so an unused lease does not count as
    an attempt.
    """
    if job.status is not JobStatus.PROCESSING or job.worker != lease:
        return job
    if not job.sha256:
        message = "The download was interrupted, because the server that fetched the recording stopped. Submit it again."
        return replace(
            job, status=JobStatus.FAILED, updated_at=now, error_message=message, error_code="download_interrupted"
        )
    if not was_used:
        return released(job, lease, now)
    if job.attempt < max_attempts:
        return replace(job, status=JobStatus.SUBMITTED, updated_at=now)
    times = "once" if job.attempt == 1 else f"{job.attempt} times"
    message = (
        f"The recording could not be processed: processing was started {times} and stopped each time without a result."
    )
    return replace(job, status=JobStatus.FAILED, updated_at=now, error_message=message, error_code="attempts_exhausted")


def cancelled(job: Job, now: dt.datetime) -> Job:
    """The client cancels the job. Raises Conflict(code="already_final")."""
    if job.status is JobStatus.CANCELLED:
        return job
    if job.status.is_final:
        raise Conflict(f"transcription {job.id} is {job.status}; there is nothing to cancel", code="already_final")
    return replace(job, status=JobStatus.CANCELLED, updated_at=now)


def deleted(job: Job, now: dt.datetime) -> Job:
    """The client deletes the job.

    The job keeps only the keys of its objects, until these are erased. Options that contain words of the client, prompt
    and key terms, are removed.
    """
    return replace(
        job,
        status=JobStatus.DELETED,
        updated_at=now,
        filename="",
        options=replace(job.options, recognize=AS_SPOKEN),
        error_message=None,
        error_code=None,
        worker=None,
        import_key=None,
    )


def cost_usd(duration_secs: float, usd_per_audio_hour: float) -> float:
    """Price of a recording in US dollars. Each started second is billed; ``duration_secs`` counts to the millisecond."""
    return round(math.ceil(round(duration_secs, 3)) * usd_per_audio_hour / 3600, 6)


def check_lease(job: Job, lease: str) -> None:
    """Raises Conflict(code="lease_lost") unless ``lease`` is the present lease of the job."""
    held = secrets.compare_digest((job.worker or "").encode(), lease.encode())
    if job.status is not JobStatus.PROCESSING or not held:
        raise Conflict(f"the lease on job {job.id} is lost; the job is {job.status}", code="lease_lost")
