"""Tables of webhooks and their deliveries: one row per state; the row with the highest ``seq`` is the current one."""

from __future__ import annotations

import pyarrow as pa

from schemas.table_columns import ACCOUNT, TIMESTAMP, Table, column

_SEQ = column("seq", pa.int64(), "Order of rows.")

WEBHOOKS = Table(
    "webhooks",
    "one state of a webhook",
    pa.schema(
        [
            _SEQ,
            column("id", pa.string(), "Webhook id."),
            ACCOUNT,
            column("url", pa.string(), "URL that events are sent to."),
            column("events", pa.list_(pa.string()), "Types of events that are sent."),
            column("generation", pa.int32(), "Counts rotations of the secret from 1; the secret itself is not stored."),
            column(
                "previous_until", TIMESTAMP, "Until when events are also signed with the previous secret, UTC.", null=True
            ),
            column("submission", pa.string(), "Submission whose `callback_url` this is; null for webhooks.", null=True),
            column("created_at", TIMESTAMP, "When it was made, UTC."),
            column("disabled_at", TIMESTAMP, "When it was disabled, UTC.", null=True),
            column("disabled_reason", pa.string(), "Why it was disabled.", null=True),
            column("deleted_at", TIMESTAMP, "When it was deleted, UTC.", null=True),
        ]
    ),
    ("seq", "account", "created_at"),
)

WEBHOOK_DELIVERIES = Table(
    "webhook_deliveries",
    "one state of the delivery of an event to a webhook",
    pa.schema(
        [
            _SEQ,
            column("id", pa.string(), "Delivery id; one for each webhook and event."),
            ACCOUNT,
            column("webhook_id", pa.string(), "Webhook it is sent to."),
            column("event_id", pa.string(), "Id of the event; the `webhook-id` header."),
            column("type", pa.string(), "Type of the event."),
            column("payload", pa.string(), "JSON of the event: ids and statuses, no transcript."),
            column("created_at", TIMESTAMP, "When the event occurred, UTC."),
            column("updated_at", TIMESTAMP, "When this state began, UTC."),
            column("status", pa.string(), "pending, delivered or failed."),
            column("attempt", pa.int32(), "Attempts made."),
            column("due_at", TIMESTAMP, "When the next attempt is due, UTC.", null=True),
            column("response_status", pa.int32(), "HTTP status of the last attempt.", null=True),
            column("error", pa.string(), "Why the last attempt failed.", null=True),
        ]
    ),
    ("seq", "account", "created_at"),
)
