"""Webhooks of an account, and the deliveries of their events."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from schemas.domain import Seconds

EventType: TypeAlias = Literal[
    "transcription.completed",
    "transcription.failed",
    "archive.completed",
    "voice.created",
    "voice.deleted",
    "conversation.ended",
    "webhook.test",
]
DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed"]

RETRY_SECS: Final[tuple[Seconds, ...]] = (
    *(5, 30, 120, 300, 900, 1800, 3600, 7200),
    *(18_000, 36_000, 50_400, 68_400, 68_400),
)
"""Pause after each failed attempt; three days in all.

It is the schedule of the Standard Webhooks specification 1.0.0 with more attempts in the first hours: a receiver that fails
a third of the requests fails one event 10 times in 60,000, and 14 times in 5 million.
"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that events of an account are sent to.

    ``generation`` counts rotations; secrets are derived from it and not stored. ``submission`` limits the webhook to the
    job that was submitted with this callback URL.
    """

    id: str
    account: str
    url: str
    events: tuple[EventType, ...]
    generation: int = 1
    previous_until: dt.datetime | None = None
    """Until when events are also signed with the previous secret."""
    submission: str | None = None
    created_at: dt.datetime | None = None
    """Set by the ledger."""
    disabled_at: dt.datetime | None = None
    disabled_reason: str | None = None
    deleted_at: dt.datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether events are sent to it."""
        return self.deleted_at is None and self.disabled_at is None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one event to one webhook. ``payload`` is the JSON, the same in every attempt."""

    id: str
    account: str
    webhook_id: str
    event_id: str
    type: EventType
    payload: str
    created_at: dt.datetime
    updated_at: dt.datetime
    status: DeliveryStatus = "pending"
    attempt: int = 0
    """Attempts made."""
    due_at: dt.datetime | None = None
    """When the next attempt is made."""
    response_status: int | None = None
    error: str | None = None
    """Why the last attempt failed."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A delivery to be attempted now, and its webhook."""

    delivery: Delivery
    webhook: Webhook


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of an attempt. ``number`` counts from 1; ``response_status`` is None without a response."""

    delivery_id: str
    number: int
    response_status: int | None
    error: str | None = None
    retry_after_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of an account. Publishing the same ``id`` again has no effect."""

    account: str
    id: str
    type: EventType
    data: dict[str, Any]
    submission: str | None = None
    at: dt.datetime | None = None
    """When it happened; None: when it is published."""
