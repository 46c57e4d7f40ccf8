"""Converts domain values to table rows and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Final

from schemas.domain import (
    Job,
    JobOptions,
    JobStatus,
    RecognizeOptions,
    SpeakerHint,
    Transcript,
    TranscriptWarning,
)
from schemas.records import ApiKey
from schemas.redaction import Redaction

Row = dict[str, Any]

_CONVERTED = ("status", "created_at", "updated_at", "options", "warnings", "revision")
_PLAIN = tuple(f.name for f in fields(Job) if f.name not in _CONVERTED)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)


def job_row(job: Job) -> Row:
    """The columns of a job in transcriptions; those of job_events have ``seq`` in addition."""
    row = {name: getattr(job, name) for name in _PLAIN}
    row.update(
        revision=job.revision,
        status=job.status.value,
        created_at=job.created_at,
        updated_at=job.updated_at,
        warnings=[asdict(warning) for warning in job.warnings],
        **options_row(job.options),
    )
    return row


OPTION_COLUMNS: Final = (
    "non_speech", "min_speakers", "max_speakers", "asked_language", "prompt", "keyterms", "task", "strict", "audio_track",
    "redact", "redact_audio", "keep_original",
)  # fmt: skip


def options_row(options: JobOptions) -> Row:
    """The options of a job as the ``OPTION_COLUMNS``."""
    recognize = options.recognize
    return {
        "non_speech": options.non_speech,
        "min_speakers": options.speakers.least,
        "max_speakers": options.speakers.most,
        "asked_language": recognize.language,
        "prompt": recognize.prompt or None,
        "keyterms": list(recognize.keyterms) or None,
        "task": recognize.task,
        "strict": options.strict,
        "audio_track": options.audio_track,
        "redact": list(options.redaction.kinds) or None,
        "redact_audio": options.redaction.audio,
        "keep_original": options.redaction.keep_original,
    }


def options_from_row(row: Row) -> JobOptions:
    """The options of a job, from a row with the ``OPTION_COLUMNS``.

    Newer columns are null in older rows, which means the defaults.
    """
    keyterms = row["keyterms"]
    recognize = RecognizeOptions(
        language=row["asked_language"],
        prompt=row["prompt"] or "",
        keyterms=() if keyterms is None else tuple(keyterms),
        task=row["task"] or "transcribe",
    )
    speakers = SpeakerHint(row["min_speakers"] or 1, row["max_speakers"])
    kinds = row["redact"]
    redaction = Redaction.of(
        () if kinds is None else tuple(kinds),
        audio=bool(row["redact_audio"]),
        keep_original=bool(row["keep_original"]),
    )
    return JobOptions(row["non_speech"], speakers, recognize, bool(row["strict"]), row["audio_track"], redaction)


def job_from_row(row: Row) -> Job:
    """A job from a row of job_events or transcriptions; further columns are ignored."""
    return Job(
        status=JobStatus(row["status"]),
        created_at=_utc(row["created_at"]),
        updated_at=_utc(row["updated_at"]),
        options=options_from_row(row),
        warnings=tuple(TranscriptWarning(**warning) for warning in row["warnings"] or ()),
        # Null in events of versions without revisions.
        revision=row["revision"] or 0,
        **{name: row[name] for name in _PLAIN},
    )


def event_row(seq: int, job: Job) -> Row:
    """A row of ``job_events``: the job's state after event ``seq``."""
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
    """A row of ``api_keys``."""
    return {**{f.name: getattr(key, f.name) for f in fields(ApiKey)}, "scopes": list(key.scopes)}


def key_from_row(row: Row) -> ApiKey:
    """A key from a row of ``api_keys``."""
    moments = ("created_at", "revoked_at", "expires_at", "last_used_at", "updated_at")
    return ApiKey(
        **{
            **{f.name: row[f.name] for f in fields(ApiKey)},
            "scopes": tuple(row["scopes"]),
            **{name: None if row[name] is None else _utc(row[name]) for name in moments},
        }
    )
