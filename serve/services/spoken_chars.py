"""The limit of characters that are synthesised for an account in a day. Each gateway replica counts separately."""

from __future__ import annotations

from limits import RateLimitItemPerDay
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from schemas.settings import LimitSettings
from serve.rate_limits import Counts, over_limit, secs_until_room


class SpokenChars:
    """Counts within a sliding day. For one event loop only."""

    def __init__(self, settings: LimitSettings) -> None:
        self._most = settings.chars_per_day
        self._counts = Counts()

    async def take(self, account: str, chars: int) -> None:
        """Count characters that are about to be spoken. Raises RateLimited."""
        if not self._most or chars <= 0:
            return
        item, storage = RateLimitItemPerDay(self._most), await self._counts.storage()
        if not await SlidingWindowCounterRateLimiter(storage).hit(item, "chars", account, cost=chars):
            wait_secs = await secs_until_room(storage, item, "chars", account, cost=chars)
            raise over_limit(f"{self._most} characters in a day", wait_secs, self._most)
