"""The time that a refused client is told to wait is enough, and not much more than that."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerDay
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

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


def test_a_wait_is_never_rounded_down() -> None:
    error = refused("too many", 1.4, 10)
    assert error.retry_after_secs == 2
    assert error.headers["RateLimit-Reset"] == "2"
