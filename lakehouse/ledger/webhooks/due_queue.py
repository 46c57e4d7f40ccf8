"""A queue of pending deliveries by due time, with leases of those being attempted. In memory only."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from itertools import count

from lakehouse.ledger.clock import Clock
from schemas.domain import Seconds
from schemas.webhooks import Delivery

LEASE_SECS: Seconds = 120.0
"""Length of a lease, longer than any attempt. After it the deliveries of a dead sender are attempted again."""
WEBHOOK_AT_ONCE = 8
"""Most concurrent attempts at one webhook, so that a slow receiver does not delay others."""
ACCOUNT_AT_ONCE = 16
"""Most concurrent attempts for one account, half of what one gateway sends by default, so that an account with many slow
receivers does not delay others."""
_LATER_SECS: Seconds = 0.25
_MOST_LATER = 4
"""Most deliveries of busy webhooks and accounts that one `take` skips, per delivery it may return."""


class DueQueue:
    """Deliveries by id. An entry of the heap is stale unless it has its delivery's latest due time.

    Due times here are of the monotonic clock, so that a step of the wall clock neither delays nor repeats anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[str, Delivery] = {}
        self._when: dict[str, float] = {}
        self._leased: dict[str, Delivery] = {}
        self._at_once: Counter[tuple[str, str]] = Counter()
        self._heap: list[tuple[float, int, str]] = []
        self._order = count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def find(self, delivery_id: str) -> Delivery | None:
        """A pending delivery."""
        return self._pending.get(delivery_id)

    def put(self, delivery: Delivery) -> None:
        """Add a pending delivery, or reschedule it and end its lease."""
        self._release(delivery.id)
        self._pending[delivery.id] = delivery
        self._push(delivery.id, self._clock.monotonic() + self._wait_secs(delivery))
        self._changed.set()

    def _wait_secs(self, delivery: Delivery) -> Seconds:
        """Time until the delivery is due.

        It is bounded by the pause with which it was scheduled, in case the wall clock was set back before a restart.
        """
        if delivery.due_at is None:
            return 0.0
        scheduled = (delivery.due_at - delivery.updated_at).total_seconds()
        return min(max(0.0, (delivery.due_at - self._clock.utc()).total_seconds()), scheduled)

    def remove(self, delivery_id: str) -> None:
        """Remove a delivery that was delivered or has failed."""
        self._release(delivery_id)
        self._pending.pop(delivery_id, None)
        self._when.pop(delivery_id, None)

    def forget(self, account: str) -> None:
        """Remove all deliveries of an account."""
        for delivery in [one for one in self._pending.values() if one.account == account]:
            self.remove(delivery.id)

    def take(self, limit: int) -> list[Delivery]:
        """Lease deliveries that are due now."""
        now = self._clock.monotonic()
        taken: list[Delivery] = []
        later: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < limit and len(later) < _MOST_LATER * limit:
            when, _, delivery_id = heapq.heappop(self._heap)
            delivery = self._pending.get(delivery_id)
            if delivery is None or self._when.get(delivery_id) != when:
                continue
            self._release(delivery_id)
            webhook, account = _holders(delivery)
            if self._at_once[webhook] >= WEBHOOK_AT_ONCE or self._at_once[account] >= ACCOUNT_AT_ONCE:
                later.append(delivery_id)
                continue
            self._leased[delivery_id] = delivery
            self._at_once.update((webhook, account))
            self._push(delivery_id, now + LEASE_SECS)
            taken.append(delivery)
        for delivery_id in later:
            self._push(delivery_id, now + _LATER_SECS)
        return taken

    async def wait(self, secs: Seconds) -> None:
        """Wait until a delivery is due or added, at most ``secs``."""
        if self._heap:
            secs = min(secs, max(0.0, self._heap[0][0] - self._clock.monotonic()))
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), secs)
        except TimeoutError:
            pass

    def _push(self, delivery_id: str, when: float) -> None:
        self._when[delivery_id] = when
        heapq.heappush(self._heap, (when, next(self._order), delivery_id))

    def _release(self, delivery_id: str) -> None:
        delivery = self._leased.pop(delivery_id, None)
        if delivery is not None:
            self._at_once.subtract(_holders(delivery))
            self._at_once = +self._at_once  # without those that have none


def _holders(delivery: Delivery) -> tuple[tuple[str, str], tuple[str, str]]:
    """Whom an attempt counts for: its webhook and its account."""
    return ("webhook", delivery.webhook_id), ("account", delivery.account)
