"""Domain values to table rows and back; the one place that knows both."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Final

from schemas.domain import ApiKey, Job, JobOptions, JobStatus, SpeakerHint, Transcript

Row = dict[str, Any]

_PLAIN = tuple(f.name for f in fields(Job) if f.name not in ("status", "created_at", "updated_at", "options", "revision"))


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)


def job_row(job: Job) -> Row:
    """The columns of a job in transcriptions, and in job_events but for ``seq``."""
    row = {name: getattr(job, name) for name in _PLAIN}
    row.update(
        revision=job.revision,
        status=job.status.value,
        created_at=job.created_at,
        updated_at=job.updated_at,
        non_speech=job.options.non_speech,
        min_speakers=job.options.speakers.least,
        max_speakers=job.options.speakers.most,
    )
    return row


OPTION_COLUMNS: Final = ("non_speech", "min_speakers", "max_speakers")


def options_from_row(row: Row) -> JobOptions:
    """What was asked, from a row that has ``OPTION_COLUMNS``; rows from before there were hints have no fewest number."""
    return JobOptions(row["non_speech"], SpeakerHint(row["min_speakers"] or 1, row["max_speakers"]))


def job_from_row(row: Row) -> Job:
    """A job from a row of job_events or transcriptions; further columns are ignored."""
    return Job(
        status=JobStatus(row["status"]),
        created_at=_utc(row["created_at"]),
        updated_at=_utc(row["updated_at"]),
        options=options_from_row(row),
        # Null in events from before there were revisions.
        revision=row["revision"] or 0,
        **{name: row[name] for name in _PLAIN},
    )


def event_row(seq: int, job: Job) -> Row:
    return {"seq": seq, **job_row(job)}


def segment_rows(job: Job, transcript: Transcript, lexemes: Callable[[str], str]) -> list[Row]:
    """One row a segment of a completed job, in order of start."""
    return [
        {
            "id": job.id,
            "account": job.account,
            "created_at": job.created_at,
            "revision": job.revision,
            "position": position,
            "speaker": segment.speaker,
            "segment_idx": segment.segment_idx,
            "text": segment.text,
            "start_secs": segment.start_secs,
            "end_secs": segment.end_secs,
            "words": [asdict(word) for word in segment.words],
            "lexemes": lexemes(segment.text),
        }
        for position, segment in enumerate(transcript.segments)
    ]


def key_row(key: ApiKey) -> Row:
    return {**{f.name: getattr(key, f.name) for f in fields(ApiKey)}, "scopes": list(key.scopes)}


def key_from_row(row: Row) -> ApiKey:
    revoked_at = row["revoked_at"]
    return ApiKey(
        **{
            **{f.name: row[f.name] for f in fields(ApiKey)},
            "scopes": tuple(row["scopes"]),
            "created_at": _utc(row["created_at"]),
            "revoked_at": None if revoked_at is None else _utc(revoked_at),
        }
    )
