"""What renders without a key may take: so many, and so many characters, a minute for one address and for all together.

Counts are kept in each gateway replica. An address is that of the connection, or what a proxy on this machine says it is
(``X-Forwarded-For``, which uvicorn reads from loopback only); an IPv6 address counts with its /64.
"""

from __future__ import annotations

import ipaddress
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from schemas.errors import RateLimited, Unauthenticated
from schemas.settings import SpeechSettings

_ALL_TOGETHER = 10


class AnonymousLimits:
    """Counts over a sliding minute. Belongs to the event loop it is used in."""

    def __init__(self, settings: SpeechSettings) -> None:
        self._renders = settings.anonymous_renders_per_minute
        self._chars = settings.anonymous_chars_per_minute
        self._limiter: SlidingWindowCounterRateLimiter | None = None

    async def take(self, host: str | None, chars: int) -> None:
        """Count one render of ``chars`` characters. Raises RateLimited, or Unauthenticated where none is allowed."""
        if not self._renders or not self._chars:
            raise Unauthenticated("this server speaks to known keys only; send yours", code="missing_api_key")
        if self._limiter is None:
            self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        address = network_of(host)
        for limit, cost, what in ((self._renders, 1, "renders"), (self._chars, chars, "characters")):
            await self._hit(RateLimitItemPerMinute(limit), (what, address), cost, f"{limit} {what} from one address")
            everyone = limit * _ALL_TOGETHER
            await self._hit(RateLimitItemPerMinute(everyone), (what,), cost, f"{everyone} {what} from all addresses")

    async def _hit(self, item: RateLimitItem, key: tuple[str, ...], cost: int, limit: str) -> None:
        assert self._limiter is not None  # noqa: S101 - made before the first count
        if not await self._limiter.hit(item, *key, cost=cost):
            reset_at = (await self._limiter.get_window_stats(item, *key)).reset_time
            raise RateLimited(
                f"without a key at most {limit} are spoken in a minute; wait, or send an API key",
                retry_after_secs=max(1.0, reset_at - time.time()),
            )


def network_of(host: str | None) -> str:
    """The address limits count by; ``unknown`` for what is none."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
