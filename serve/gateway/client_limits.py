"""Limits per client: requests and time of searches per minute, uploaded bytes per day.

Bytes and searches are counted per account, requests per key, or per address without a key. Each gateway replica counts
separately. 0 means no limit. Workers (scope ``operator``) have no limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from schemas.scopes import OPERATOR
from schemas.settings import LimitSettings
from serve.gateway.anonymous_limits import network_of
from serve.gateway.auth import Principal
from serve.rate_limits import Counts, over_limit, rate_headers, secs_until_room


class ClientLimits:
    """Counts in memory. For one event loop only."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._counts = Counts()

    async def take_request(self, principal: Principal | None, host: str | None) -> dict[str, str]:
        """Count one request; returns the `RateLimit-*` headers of its response. Raises RateLimited."""
        most = self._settings.requests_per_minute
        if not most or _is_worker(principal):
            return {}
        item, who = RateLimitItemPerMinute(most), client_of(principal, host)
        limiter = MovingWindowRateLimiter(await self._counts.storage())
        allowed = await limiter.hit(item, "requests", who)
        reset_at, remaining = await limiter.get_window_stats(item, "requests", who)
        wait_secs = max(1, math.ceil(reset_at - time.time()))
        if not allowed:
            raise over_limit(f"{most} requests in a minute", wait_secs, most)
        return rate_headers(most, remaining, wait_secs)

    async def take_bytes(self, principal: Principal | None, count: int) -> None:
        """Count bytes of a recording that arrive for an account. Raises RateLimited."""
        most = self._settings.upload_bytes_per_day
        if not most or principal is None or _is_worker(principal) or count <= 0:
            return
        item: RateLimitItem = RateLimitItemPerDay(most)
        storage = await self._counts.storage()
        counter = SlidingWindowCounterRateLimiter(storage)
        if not await counter.hit(item, "bytes", principal.account, cost=count):
            wait_secs = await secs_until_room(storage, item, "bytes", principal.account, cost=count)
            raise over_limit(f"{most} bytes in a day", wait_secs, most)

    @asynccontextmanager
    async def search(self, principal: Principal | None) -> AsyncIterator[None]:
        """Held while a search of an account runs; its time counts. Raises RateLimited."""
        most_ms = round(self._settings.search_secs_per_minute * 1000)
        if not most_ms or principal is None or _is_worker(principal):
            yield
            return
        item, storage = RateLimitItemPerMinute(most_ms), await self._counts.storage()
        counter = SlidingWindowCounterRateLimiter(storage)
        _, remaining = await counter.get_window_stats(item, "search", principal.account)
        if remaining <= 0:
            limit = f"{self._settings.search_secs_per_minute:g} seconds of searches in a minute"
            wait_secs = await secs_until_room(storage, item, "search", principal.account, cost=1)
            raise over_limit(limit, wait_secs, most_ms)
        began = time.perf_counter()
        try:
            yield
        finally:
            # The limiter does not count a hit that exceeds the rest, so at most the rest is counted.
            cost = min(max(1, round(1000 * (time.perf_counter() - began))), remaining)
            await counter.hit(item, "search", principal.account, cost=cost)


def client_of(principal: Principal | None, host: str | None) -> str:
    """The client of a request: its key, else its address or network."""
    return f"key {principal.key_id}" if principal is not None else f"address {network_of(host)}"


def _is_worker(principal: Principal | None) -> bool:
    return principal is not None and OPERATOR in principal.scopes
