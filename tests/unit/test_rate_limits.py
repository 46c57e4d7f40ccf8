"""The time that a refused client is told to wait is enough, and not much more than that."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerDay
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from schemas.errors import RateLimited
from schemas.settings import SpeechSettings
from serve.gateway.anonymous_limits import AnonymousLimits
from serve.rate_limits import refused, secs_until_room

pytestmark = pytest.mark.unit

DAY = 86_400.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    amount=st.sampled_from([1, 3, 1000, 10**12]),
    start=st.floats(0, DAY, exclude_max=True),
    hits=st.lists(st.tuples(st.floats(0, DAY), st.floats(0, 1)), max_size=12),
    cost=st.floats(0, 1),
)
async def test_a_client_that_waits_as_long_as_it_is_told_has_room_and_not_much_sooner(
    monkeypatch: pytest.MonkeyPatch, amount: int, start: float, hits: list[tuple[float, float]], cost: float
) -> None:
    now = 20_000 * DAY + start
    monkeypatch.setattr(time, "time", lambda: now)
    item, storage = RateLimitItemPerDay(amount), MemoryStorage()
    counter = SlidingWindowCounterRateLimiter(storage)
    for pause, share in hits:
        now += pause
        await counter.hit(item, "who", cost=max(1, round(share * amount)))
    asked = max(1, round(cost * amount))
    wait_secs = await secs_until_room(storage, item, "who", cost=asked)
    assert wait_secs == int(wait_secs)
    assert await counter.test(item, "who", cost=asked) == (wait_secs == 0)
    if wait_secs > 2:
        now += wait_secs - 1.1
        assert not await counter.test(item, "who", cost=asked)
        now += 1.1
    else:
        now += wait_secs
    assert await counter.hit(item, "who", cost=asked)


async def test_what_never_has_room_waits_for_the_whole_window() -> None:
    assert await secs_until_room(MemoryStorage(), RateLimitItemPerDay(10), "who", cost=11) == DAY


async def test_renders_without_a_key_count_for_their_network_and_for_all() -> None:
    def limits(renders: int) -> AnonymousLimits:
        return AnonymousLimits(SpeechSettings(anonymous_renders_per_minute=renders, anonymous_chars_per_minute=10_000))

    each = limits(1)
    await each.take("198.51.100.1", 5)
    await each.take("2001:db8:0:1::1", 5)
    for same in ("198.51.100.1", "2001:db8:0:1:ffff::2"):  # who has one IPv6 address has its whole /64
        with pytest.raises(RateLimited, match="from one address"):
            await each.take(same, 5)
    for other in ("198.51.100.2", "2001:db8:0:2::1", "::ffff:198.51.100.3", "::ffff:198.51.100.4"):
        await each.take(other, 5)
    together = limits(2)
    for number in range(20):
        await together.take(f"203.0.113.{number}", 5)
    with pytest.raises(RateLimited, match="from all addresses"):
        await together.take("203.0.113.99", 5)


def test_a_wait_is_never_rounded_down() -> None:
    error = refused("too many", 1.4, 10)
    assert error.retry_after_secs == 2
    assert error.headers["RateLimit-Reset"] == "2"
