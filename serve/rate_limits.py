"""Counts for rate limits, and the error for a client over a limit. Its headers name the limit and the time to wait."""

from __future__ import annotations

import math
from typing import Final

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage

from runtime.boot_clock import ClockSteps
from schemas.domain import Seconds
from schemas.errors import RateLimited

_LEAST_STEP_SECS: Final = 1.0
_ROUNDING_SECS: Final[Seconds] = 0.01
"""Precision of times computed from the counts of a day, which have up to 13 digits."""


class Counts:
    """Counts in memory, for one event loop.

    The package `limits` counts by the wall clock, so the counts are reset after a step of the clock. Otherwise clients
    counted before a step back would be refused until the clock reached the old time again.
    """

    def __init__(self) -> None:
        self._clock = ClockSteps(_LEAST_STEP_SECS)
        self._storage: MemoryStorage | None = None

    async def storage(self) -> MemoryStorage:
        """The storage of the present counts."""
        if self._storage is None:
            self._storage = MemoryStorage()
        elif self._clock.look():
            await self._storage.reset()
        return self._storage


async def secs_until_room(storage: MemoryStorage, item: RateLimitItem, *identifiers: str, cost: int) -> Seconds:
    """Whole seconds after which a hit of ``cost`` is accepted, if there is no other hit before; 0 if it is accepted now.

    For limits that a `SlidingWindowCounterRateLimiter` counts in ``storage``. The limiter weights the count of the
    previous window by the share of that window that is less than one window ago. A ``cost`` over the whole limit is never
    accepted; then the result is the length of the window.
    """
    length: int = item.get_expiry()
    room: int = item.amount - cost + 1
    if room <= 0:
        return length
    previous, _, current, ends_in = await storage.get_sliding_window(item.key_for(*identifiers), length)
    left = ends_in - length  # of the window that counts now
    if previous * left / length + current < room:
        return 0
    next_window = left + length - room * length / current if current else left
    wait = left - (room - current) * length / previous if current < room else next_window
    return math.floor(wait + _ROUNDING_SECS) + 1


def over_limit(limit: str, wait_secs: Seconds, most: int) -> RateLimited:
    """The error for more than ``limit``, a text such as "5 requests in a minute"; ``most`` is the limit's number."""
    return refused(f"at most {limit} are allowed; try again later", wait_secs, most)


def refused(message: str, wait_secs: Seconds, most: int, code: str | None = None) -> RateLimited:
    """The error of a limit of ``most``, with a message of its own."""
    secs = max(1, math.ceil(wait_secs))  # rounded up, so that a client that waits this long is not too early
    error = RateLimited(message, code=code, retry_after_secs=secs)
    error.headers.update(rate_headers(most, 0, secs))
    return error


def rate_headers(most: int, remaining: int, wait_secs: int) -> dict[str, str]:
    """The headers of draft-ietf-httpapi-ratelimit-headers-03."""
    return {"RateLimit-Limit": str(most), "RateLimit-Remaining": str(remaining), "RateLimit-Reset": str(wait_secs)}
