"""Rate limits of renders without a key: renders and characters per minute, for one address and for all together.

Each gateway replica counts for itself. The address is that of the connection, or the ``X-Forwarded-For`` of a proxy on this
machine (uvicorn reads that header from loopback only). IPv6 addresses are counted by their /64 network.
"""

from __future__ import annotations

import ipaddress

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from schemas.errors import Unauthenticated
from schemas.settings import SpeechSettings
from serve.rate_limits import Counts, refused, secs_until_room

_ALL_TOGETHER = 10


class AnonymousLimits:
    """Counts within a sliding minute. Belongs to the event loop it is used in."""

    def __init__(self, settings: SpeechSettings) -> None:
        self._renders = settings.anonymous_renders_per_minute
        self._chars = settings.anonymous_chars_per_minute
        self._counts = Counts()

    async def take(self, host: str | None, chars: int) -> None:
        """Count one render of ``chars`` characters.

        Raises RateLimited, or Unauthenticated where renders without a key are not allowed.
        """
        if not self._renders or not self._chars:
            raise Unauthenticated(
                "this server renders speech only for requests with an API key; send yours", code="missing_api_key"
            )
        address = network_of(host)
        for limit, cost, what in ((self._renders, 1, "renders"), (self._chars, chars, "characters")):
            await self._hit(RateLimitItemPerMinute(limit), (what, address), cost, f"{limit} {what} from one address")
            everyone = limit * _ALL_TOGETHER
            await self._hit(RateLimitItemPerMinute(everyone), (what,), cost, f"{everyone} {what} from all addresses")

    async def _hit(self, item: RateLimitItem, key: tuple[str, ...], cost: int, limit: str) -> None:
        storage = await self._counts.storage()
        if not await SlidingWindowCounterRateLimiter(storage).hit(item, *key, cost=cost):
            message = f"without a key at most {limit} are allowed in a minute; wait, or send an API key"
            raise refused(message, await secs_until_room(storage, item, *key, cost=cost), item.amount)


def network_of(host: str | None) -> str:
    """The address or network that is counted; ``unknown`` for a host that is no IP address."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
