"""Counts unfinished jobs and the audio of a day by account, for the limits of accounts."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import polars as pl

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.live_jobs import LiveJobs
from lakehouse.tables.group_commit import TableWriter
from schemas.domain import Job, JobStatus, Seconds

DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AccountLoad:
    """Jobs of an account that are waiting or processing, and seconds of audio transcribed for it in the last day."""

    unfinished: int
    audio_secs: Seconds
    frees_in_secs: Seconds
    """Time until the audio of the last day is below the limit that was asked about, s; 0 if it is below now."""


class AccountLoads:
    """Seconds of audio by account, in order of time. Cached, imported and archived jobs do not count."""

    def __init__(self, live: LiveJobs, transcriptions: TableWriter, clock: Clock) -> None:
        self._live = live
        self._table = transcriptions
        self._clock = clock
        self._done: dict[str, deque[tuple[dt.datetime, Seconds]]] = {}

    async def load(self) -> None:
        """Read what was transcribed in the last day."""
        since = self._clock.utc() - DAY
        counted = (
            (pl.col("updated_at") > since)
            & (pl.col("status") == JobStatus.COMPLETED.value)
            & ~pl.col("cached")
            & pl.col("archive_id").is_null()
            & (pl.col("audio_key") != "")
        )
        frame = await asyncio.to_thread(
            self._table.reader().collect,
            lambda table: table.filter(counted).select("account", "updated_at", "audio_duration_secs").sort("updated_at"),
            self._table.version,
        )
        for account, at, secs in frame.iter_rows():
            self._done.setdefault(account, deque()).append((at.astimezone(dt.UTC), secs or 0.0))

    def on_job_committed(self, job: Job) -> None:
        """Count a job that a worker completed."""
        if job.status is JobStatus.COMPLETED and not job.cached and job.archive_id is None and job.audio_key:
            done = self._done.setdefault(job.account, deque())
            done.append((job.updated_at, job.audio_duration_secs or 0.0))
            self._expire(done)

    def of(self, account: str, limit_secs: Seconds = math.inf) -> AccountLoad:
        """The present load of an account, and when it has less than ``limit_secs`` of audio in the last day."""
        now, done = self._clock.utc(), self._done.get(account, deque())
        self._expire(done)
        if not done:
            self._done.pop(account, None)
        unfinished = sum(not job.status.is_final and job.archive_id is None for job in self._live.of_account(account))
        in_all = left = sum(secs for _, secs in done)
        frees_in = 0.0
        for at, secs in done:
            if left < limit_secs:
                break
            frees_in, left = (at + DAY - now).total_seconds(), left - secs
        return AccountLoad(unfinished, in_all, frees_in)

    def _expire(self, done: deque[tuple[dt.datetime, Seconds]]) -> None:
        before = self._clock.utc() - DAY
        while done and done[0][0] <= before:
            done.popleft()
