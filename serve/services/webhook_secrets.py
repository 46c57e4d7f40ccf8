"""Secrets and signatures of webhooks (Standard Webhooks 1.0.0, https://www.standardwebhooks.com).

Secrets are derived from the home's secret, so that no table, backup or query contains one.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from typing import Final

from schemas.webhooks import Webhook

PREFIX: Final = "whsec_"


class WebhookSecrets:
    """Derives secrets from ``home_secret``, 32 bytes that are unique to this home."""

    def __init__(self, home_secret: bytes) -> None:
        self._home_secret = home_secret

    def shown(self, webhook: Webhook) -> str:
        """The current secret in the form shown to its owner. All callback webhooks of an account have the same."""
        return PREFIX + base64.b64encode(self._key(webhook, webhook.generation)).decode()

    def headers(self, webhook: Webhook, event_id: str, payload: bytes, now: dt.datetime) -> dict[str, str]:
        """The signature headers of an event; for a day after a rotation it is signed with both secrets."""
        timestamp = str(int(now.timestamp()))
        generations = [webhook.generation]
        if webhook.previous_until is not None and now < webhook.previous_until:
            generations.append(webhook.generation - 1)
        signed = f"{event_id}.{timestamp}.".encode() + payload
        signatures = [
            base64.b64encode(hmac.digest(self._key(webhook, one), signed, "sha256")).decode() for one in generations
        ]
        return {
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def _key(self, webhook: Webhook, generation: int) -> bytes:
        name = f"callback\0{webhook.account}" if webhook.submission is not None else f"webhook\0{webhook.id}"
        return hmac.digest(self._home_secret, f"{name}\0{generation}".encode(), hashlib.sha256)
