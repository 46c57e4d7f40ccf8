"""Deliveries of webhooks in simulated time, by the ledger's outbox: to a receiver that fails every third request, from
senders that die before they report, and with a ledger that is opened again halfway."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measure import Measure
from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.webhooks.due_queue import LEASE_SECS
from schemas.domain import Seconds
from schemas.errors import FluxionsError
from schemas.settings import ServerSettings, Settings, StorageSettings
from schemas.webhooks import Attempt, Dispatch, Happened, Webhook

_WEBHOOKS: Final = 100
_AT_ONCE: Final = 500
_STEP_SECS: Final[Seconds] = 15.0
_LONGEST_SECS: Final[Seconds] = 4 * 86_400.0
_FAILS_EACH: Final = 3
_DIES_EACH: Final = 500
"""One in this number of accepted requests is never reported, because its sender died."""


@dataclass
class SimulatedClock:
    """A clock that stands still until `advance`."""

    moment: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    secs: Seconds = 0.0

    def monotonic(self) -> float:
        """See `lakehouse.ledger.clock.Clock`."""
        return self.secs

    def utc(self) -> dt.datetime:
        """See `lakehouse.ledger.clock.Clock`."""
        return self.moment

    async def sleep(self, secs: Seconds) -> None:
        """See `lakehouse.ledger.clock.Clock`. Sleepers of the ledger have nothing to do here."""
        await asyncio.Event().wait()

    def advance(self, secs: Seconds) -> None:
        """Let time pass."""
        self.secs += secs
        self.moment += dt.timedelta(seconds=secs)


@dataclass
class Receiver:
    """Accepts two of three requests, and counts what it accepted."""

    accepted: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def attempt(self, one: Dispatch) -> Attempt | None:
        """The sender's report of an attempt; None if the sender died before it reported."""
        self.requests += 1
        delivery = one.delivery
        if self.requests % _FAILS_EACH == 0:
            return Attempt(delivery.id, delivery.attempt + 1, 500, "the receiver answered HTTP 500")
        self.accepted[delivery.event_id] += 1
        died = self.accepted.total() % _DIES_EACH == 0
        return None if died else Attempt(delivery.id, delivery.attempt + 1, 200)


async def measure(home: Path, deliveries: int) -> list[Measure]:
    """Raises FluxionsError if a delivery is missing at the end of its schedule."""
    settings = Settings(server=ServerSettings(home=home), storage=StorageSettings(fsync=False))
    clock, receiver, began = SimulatedClock(), Receiver(), time.monotonic()
    ledger = await Ledger.open(settings, clock=clock)
    try:
        await _published(ledger, deliveries)
        reopened = waited_for_dead = False
        while True:
            found = await ledger.webhooks.due(_AT_ONCE, 0)
            done = len(receiver.accepted) == deliveries
            if found:
                attempts = [receiver.attempt(one) for one in found]
                await ledger.webhooks.settle([attempt for attempt in attempts if attempt is not None])
            elif done and waited_for_dead:
                break
            elif clock.secs > _LONGEST_SECS:
                raise FluxionsError(f"{deliveries - len(receiver.accepted)} deliveries are lost", code="deliveries_lost")
            else:
                clock.advance(2 * LEASE_SECS if done else _STEP_SECS)
            # Nothing is due once the leases of dead senders have expired: then all is settled.
            waited_for_dead = done and not found
            if not reopened and len(receiver.accepted) > deliveries // 2:
                await ledger.close()
                ledger, reopened = await Ledger.open(settings, clock=clock), True
    finally:
        await ledger.close()
    twice = sum(1 for count in receiver.accepted.values() if count > 1)
    return [
        Measure("delivered", len(receiver.accepted), ""),
        Measure("lost", deliveries - len(receiver.accepted), ""),
        Measure("delivered twice or more", 100 * twice / deliveries, "%"),
        Measure("requests", receiver.requests, ""),
        Measure("simulated time", clock.secs / 3600, "h"),
        Measure("wall time", time.monotonic() - began, "s"),
    ]


async def _published(ledger: Ledger, deliveries: int) -> None:
    for number in range(_WEBHOOKS):
        webhook = Webhook(f"wh_{number}", f"account{number}", "https://example.org/events", ("voice.created",))
        await ledger.webhooks.put(webhook)
    events = [
        Happened(f"account{number % _WEBHOOKS}", f"evt_{number}", "voice.created", {"id": f"voice{number}"})
        for number in range(deliveries)
    ]
    for first in range(0, deliveries, _AT_ONCE):
        await asyncio.gather(*(ledger.webhooks.publish(event) for event in events[first : first + _AT_ONCE]))
