"""Counts changes of jobs for operators, once they are committed."""

from __future__ import annotations

from schemas.domain import Job, JobStatus
from telemetry.metrics import AUDIO, CACHE, JOB_FAILURES, JOBS, PROCESSING, QUEUE_WAIT, as_label


def count_change(job: Job, *, is_new: bool) -> None:
    """Count the committed state ``job``; ``is_new`` is true for its first one."""
    origin = "client" if job.archive_id is None else "archive"
    if is_new and job.use_cache:
        CACHE.labels("recording", "hit" if job.cached else "miss").inc()
    if job.status is JobStatus.SUBMITTED:
        JOBS.labels(origin, "submitted" if is_new else "returned").inc()
    elif job.status is JobStatus.PROCESSING:
        JOBS.labels(origin, "claimed").inc()
        if job.attempt == 1 and job.archive_id is None:
            QUEUE_WAIT.observe(max(0.0, (job.updated_at - job.created_at).total_seconds()))
    elif job.status is JobStatus.COMPLETED:
        # A job whose first state is completed and not cached is an import or a live stream.
        outcome = "cached" if job.cached else "recorded" if is_new else "completed"
        JOBS.labels(origin, outcome).inc()
        if outcome == "completed":
            AUDIO.labels("in", "transcription").inc(job.audio_duration_secs or 0.0)
            PROCESSING.observe(job.processing_secs or 0.0)
    else:
        JOBS.labels(origin, job.status.value).inc()
        if job.status is JobStatus.FAILED:
            JOB_FAILURES.labels(as_label(job.error_code or "unknown")).inc()
