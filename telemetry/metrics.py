"""Every metric of the platform, by name. `docs/monitoring.md` lists them, and dashboards and alert rules use them.

Each process counts for itself. With ``PROMETHEUS_MULTIPROC_DIR`` set, as `fluxions up` sets it, prometheus-client keeps
the values in files of that folder, one set for each process, and `telemetry.scrape` adds them up. Without it they stay in
the process. Labels have few different values. Accounts, ids, addresses and texts are never labels.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from prometheus_client import Counter, Histogram

Slot: TypeAlias = Literal["recognizer", "diarizer", "event_detector", "synthesizer", "language_model"]
Lock: TypeAlias = Literal["storage", "job"]

PREFIX: Final = "fluxions_"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_ANSWERS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128)

REQUESTS = Counter(
    "fluxions_http_requests", "Responses of the gateway, by rule of the route and class of the status.", ["route", "status"]
)
ERRORS = Counter("fluxions_errors", "Errors sent to clients, by code.", ["code"])
JOBS = Counter("fluxions_jobs", "Changes of transcription jobs, by origin and what became of them.", ["origin", "outcome"])
JOB_FAILURES = Counter("fluxions_job_failures", "Jobs that failed for good, by code.", ["code"])
QUEUE_WAIT = Histogram(
    "fluxions_queue_wait_seconds", "Time from a job's submission to its first claim.", buckets=(*_SECONDS, 7200.0)
)
PROCESSING = Histogram("fluxions_job_processing_seconds", "Time that a worker took for a job.", buckets=(*_SECONDS, 7200.0))
AUDIO = Counter("fluxions_audio_seconds", "Seconds of audio that came in or went out, by use.", ["direction", "use"])
ENGINE_SECONDS = Counter("fluxions_engine_seconds", "Seconds in which an engine worked.", ["slot"])
ENGINE_CALLS = Counter("fluxions_engine_calls", "Batches, blocks, pieces of a stream or answers of an engine.", ["slot"])
BATCH_SIZE = Histogram("fluxions_batch_utterances", "Utterances in one batch of the recogniser.", buckets=_BATCH)
FIRST_AUDIO = Histogram(
    "fluxions_first_audio_seconds", "Time from the start of a render to its first audio.", ["streamed"], buckets=_ANSWERS
)
TURN_LATENCY = Histogram(
    "fluxions_turn_latency_seconds",
    "Time from the end of a user's speech to a step of the answer.",
    ["step"],
    buckets=_ANSWERS,
)
CACHE = Counter("fluxions_cache_lookups", "Look-ups in the caches of recordings and blocks.", ["cache", "result"])
COMMITS = Counter("fluxions_commits", "Commits to a table.", ["table", "result"])
COMMITTED_ROWS = Counter("fluxions_committed_rows", "Rows that were committed to a table.", ["table"])
COMMIT_SECONDS = Histogram("fluxions_commit_seconds", "Time of one commit, with its flush.", ["table"], buckets=_SECONDS)
COMMIT_WAIT = Histogram("fluxions_commit_wait_seconds", "Time that rows waited for their commit.", buckets=_SECONDS)
LOCK_WAIT = Histogram("fluxions_lock_wait_seconds", "Time that a change waited for a lock.", ["lock"], buckets=_SECONDS)
WEBHOOKS = Counter("fluxions_webhook_attempts", "Attempts to deliver an event to a webhook.", ["result"])
RESTARTS = Counter("fluxions_process_restarts", "Programs that ended and were started again.", ["process"])

SCRAPED: Final = {
    "fluxions_up": "Whether the gateway answered when the metrics were read, 0 or 1.",
    "fluxions_queue_jobs": "Jobs that wait for a worker.",
    "fluxions_queue_oldest_seconds": "Age of the oldest job that waits.",
    "fluxions_live_jobs": "Jobs in the ledger's memory, by status.",
    "fluxions_leases": "Jobs that workers hold.",
    "fluxions_unprojected_jobs": "Finished jobs that are not in the table of transcriptions yet.",
    "fluxions_table_version": "Delta version of a table.",
    "fluxions_engine_ready": "Whether the engine of a slot is ready, 0 or 1.",
}
"""Gauges that are requested from the gateway when metrics are read, with their help text."""

INSTRUMENTS: Final = (
    REQUESTS,
    ERRORS,
    JOBS,
    JOB_FAILURES,
    QUEUE_WAIT,
    PROCESSING,
    AUDIO,
    ENGINE_SECONDS,
    ENGINE_CALLS,
    BATCH_SIZE,
    FIRST_AUDIO,
    TURN_LATENCY,
    CACHE,
    COMMITS,
    COMMITTED_ROWS,
    COMMIT_SECONDS,
    COMMIT_WAIT,
    LOCK_WAIT,
    WEBHOOKS,
    RESTARTS,
)

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_CODES: Final = 200
_codes: set[str] = set()


def as_label(code: str) -> str:
    """An error's code as the value of a label: at most 200 different ones in a process, then ``other``."""
    if code not in _codes and (len(_codes) >= _MOST_CODES or not _CODE.fullmatch(code)):
        return "other"
    _codes.add(code)
    return code


def count_engine(slot: Slot, secs: float) -> None:
    """Count one batch, block or piece on which an engine worked for ``secs``."""
    ENGINE_CALLS.labels(slot).inc()
    ENGINE_SECONDS.labels(slot).inc(secs)


def count_speech(secs: float) -> None:
    """Count ``secs`` of synthesised sound.

    This is a function because Ray cannot serialise a metric with the class of a deployment.
    """
    AUDIO.labels("out", "speech").inc(secs)


def series() -> dict[str, tuple[str, ...]]:
    """Names of all time series as Prometheus stores them, with their labels; without ``le`` of histograms."""
    found: dict[str, tuple[str, ...]] = {}
    for one in INSTRUMENTS:
        (family,) = one.describe()
        labels = tuple(one._labelnames)
        if family.type == "counter":
            found[f"{family.name}_total"] = labels
        else:
            found |= {f"{family.name}_{part}": labels for part in ("bucket", "sum", "count")}
    gauge_labels = {
        "fluxions_live_jobs": ("status",),
        "fluxions_table_version": ("table",),
        "fluxions_engine_ready": ("slot",),
    }
    return found | {name: gauge_labels.get(name, ()) for name in SCRAPED}
