"""Time for the ledger, so that tests may turn the hands themselves."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Protocol

from schemas.times import now


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only grow, for leases."""
        ...

    def utc(self) -> dt.datetime:
        """The time of day, UTC, whole milliseconds, for what is stored; it may jump."""
        ...

    async def sleep(self, secs: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def utc(self) -> dt.datetime:
        return now()

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs)
