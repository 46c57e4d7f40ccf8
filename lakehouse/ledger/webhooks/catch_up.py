"""Finds events of committed changes that a killed ledger may not have published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final, Protocol

from schemas.domain import Seconds
from schemas.webhooks import EventType, Happened

REMEMBERED: Final = dt.timedelta(days=7)
"""Least time for which identities of deliveries are kept, so that no event is published twice."""
_LAST_SECS: Final[Seconds] = 7_200.0
"""An event is published right after its change, so only the last ones of a type can be missing. A conversation without a
gateway ends up to 75 minutes before its change."""


class EventSource(Protocol):
    """A part of the ledger whose changes are published as events."""

    async def events_since(self, moment: dt.datetime) -> list[Happened]:
        """The events of its changes from ``moment`` on, each with its time and the identity it was published under."""


def last_of_each_type(events: Iterable[Happened]) -> list[tuple[Happened, dt.datetime]]:
    """The part of ``events``, with their times, that a killed ledger may not have published.

    Older events are left out, because a webhook that was not subscribed to them then, such as a disabled one, may be
    subscribed to their type now.
    """
    dated = [(event, event.at) for event in events if event.at is not None]
    newest: dict[EventType, dt.datetime] = {}
    for event, at in dated:
        newest[event.type] = max(at, newest.get(event.type, at))
    return [(event, at) for event, at in dated if (newest[event.type] - at).total_seconds() <= _LAST_SECS]
