"""The clock of the ledger, as a protocol, so that tests can set the time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Protocol

from schemas.times import now


class Clock(Protocol):
    """Monotonic and wall-clock time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back; for leases."""
        ...

    def utc(self) -> dt.datetime:
        """The wall clock, UTC, in whole milliseconds; for what is stored. It may jump."""
        ...

    async def sleep(self, secs: float) -> None:
        """Wait for ``secs`` of monotonic time."""
        ...


class IncreasingTimes:
    """Wall-clock times of states whose order is known by their times alone: each is later than those before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = dt.datetime.fromtimestamp(0, dt.UTC)

    def next(self) -> dt.datetime:
        """The present time, UTC, whole milliseconds, or 1 ms after the last one if that is later."""
        self._last = max(self._clock.utc(), self._last + dt.timedelta(milliseconds=1))
        return self._last

    def restore(self, moment: dt.datetime) -> None:
        """Make later times follow ``moment``."""
        self._last = max(self._last, moment)


class SystemClock:
    """The clocks of the system."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def utc(self) -> dt.datetime:
        """See `Clock.utc`."""
        return now()

    async def sleep(self, secs: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(secs)
