"""Bodies of `/v1/webhooks`."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field

from schemas.times import iso
from schemas.webhooks import Delivery, DeliveryStatus, EventType, Webhook

MAX_URL_CHARS: Final = 2000
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
URL_PATTERN: Final = rf'^https?://[A-Za-z0-9._-]+(:({_PORT}))?([/?][!-"$-~]*)?$'
"""Pattern of addresses in the OpenAPI document, with the forms that all clients can send. Other names and IPv6 addresses
are accepted too.
"""
ALL_EVENTS: Final[tuple[EventType, ...]] = (
    "transcription.completed",
    "transcription.failed",
    "archive.completed",
    "voice.created",
    "voice.deleted",
    "conversation.ended",
)


class NewWebhook(BaseModel):
    """A request to create a webhook."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=8,
        max_length=MAX_URL_CHARS,
        description="HTTP address that events are posted to.",
        json_schema_extra={"pattern": URL_PATTERN},
    )
    events: list[EventType] = Field(default_factory=lambda: list(ALL_EVENTS), min_length=1, max_length=20)


class RotateSecret(BaseModel):
    """A request to rotate the secret."""

    model_config = ConfigDict(extra="forbid")

    keep_old_secret_active_for_24_hours: bool = Field(True, strict=True, description="Sign with both for a day.")


class WebhookBody(BaseModel):
    """A webhook. ``secret`` is only in the response to its creation or rotation."""

    object: Literal["webhook"] = "webhook"
    id: str
    url: str
    events: list[EventType]
    created_at: str
    disabled_at: str | None = None
    disabled_reason: str | None = None
    secret: str | None = Field(None, description="`whsec_…`; verifies signatures (Standard Webhooks).")

    @classmethod
    def of(cls, webhook: Webhook, secret: str | None = None) -> Self:
        """The body for the domain value."""
        assert webhook.created_at is not None  # noqa: S101 - the ledger sets it
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            created_at=iso(webhook.created_at),
            disabled_at=iso(webhook.disabled_at) if webhook.disabled_at else None,
            disabled_reason=webhook.disabled_reason,
            secret=secret,
        )


class WebhookList(BaseModel):
    """An account's webhooks, newest first."""

    object: Literal["list"] = "list"
    data: list[WebhookBody]


class DeletedWebhook(BaseModel):
    """The answer to a deletion."""

    object: Literal["webhook"] = "webhook"
    id: str
    deleted: Literal[True] = True


class DeliveryBody(BaseModel):
    """The delivery of one event."""

    object: Literal["webhook.delivery"] = "webhook.delivery"
    id: str
    event_id: str
    type: EventType
    status: DeliveryStatus
    attempts: int
    created_at: str
    updated_at: str
    next_attempt_at: str | None
    response_status: int | None
    error: str | None
    event: dict[str, Any] = Field(description="The event that is sent.")

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The body for the domain value."""
        return cls(
            id=delivery.id,
            event_id=delivery.event_id,
            type=delivery.type,
            status=delivery.status,
            attempts=delivery.attempt,
            created_at=iso(delivery.created_at),
            updated_at=iso(delivery.updated_at),
            next_attempt_at=iso(delivery.due_at) if delivery.due_at else None,
            response_status=delivery.response_status,
            error=delivery.error,
            event=orjson.loads(delivery.payload),
        )


class DeliveryList(BaseModel):
    """The newest deliveries of a webhook."""

    object: Literal["list"] = "list"
    data: list[DeliveryBody]
