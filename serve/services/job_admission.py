"""Limits of an account's transcriptions: the number of unfinished jobs, and the hours of audio in a day."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from lakehouse.ledger.interface import JobLedger
from schemas.domain import Seconds
from schemas.settings import LimitSettings
from serve.rate_limits import over_limit

_UNFINISHED_WAIT_SECS: Final[Seconds] = 5.0


class JobAdmission:
    """Checked before a recording is received, so that a client over its limits sends no bytes. For one event loop only."""

    def __init__(self, settings: LimitSettings, jobs: JobLedger) -> None:
        self._jobs_most = settings.unfinished_jobs
        self._hours_most = settings.audio_hours_per_day
        self._jobs = jobs
        self._arriving: Counter[str] = Counter()

    @asynccontextmanager
    async def admitted(self, account: str) -> AsyncIterator[None]:
        """Held while a recording is received and its job created. Raises RateLimited."""
        self._arriving[account] += 1
        try:
            if self._jobs_most or self._hours_most:
                await self._check(account)
            yield
        finally:
            self._arriving[account] -= 1
            if not self._arriving[account]:
                del self._arriving[account]

    async def _check(self, account: str) -> None:
        limit_secs = self._hours_most * 3600
        load = await self._jobs.load_of(account, limit_secs or math.inf)
        if self._jobs_most and load.unfinished + self._arriving[account] > self._jobs_most:
            raise over_limit(f"{self._jobs_most} unfinished transcriptions", _UNFINISHED_WAIT_SECS, self._jobs_most)
        if self._hours_most and load.audio_secs >= limit_secs:
            limit = f"{self._hours_most:g} hours of audio in a day"
            raise over_limit(limit, load.frees_in_secs, round(self._hours_most))
