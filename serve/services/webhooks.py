"""Creates, rotates and tests webhooks of an account, and registers callback URLs of single jobs."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import httpx

from lakehouse.ledger.interface import WebhookLedger
from schemas.api.webhooks import MAX_URL_CHARS
from schemas.errors import FluxionsError, InvalidParameter
from schemas.webhooks import EventType, Happened, Webhook
from serve.services.webhook_secrets import WebhookSecrets

_OLD_SECRET: Final = dt.timedelta(hours=24)
_CALLBACK_EVENTS: Final[tuple[EventType, ...]] = ("transcription.completed", "transcription.failed")


class Webhooks:
    """The service behind `/v1/webhooks` and ``callback_url`` of `/submit`."""

    def __init__(self, ledger: WebhookLedger, secrets: WebhookSecrets) -> None:
        self._ledger = ledger
        self._secrets = secrets

    async def create(self, account: str, url: str, events: Sequence[EventType]) -> tuple[Webhook, str]:
        """A webhook and its secret. Raises InvalidParameter, and Conflict for an account that has too many."""
        check_url(url, "url")
        webhook = await self._ledger.put(Webhook(f"wh_{uuid.uuid4().hex}", account, url, tuple(dict.fromkeys(events))))
        return webhook, self._secrets.shown(webhook)

    async def rotate(self, account: str, webhook_id: str, *, keep_old: bool) -> tuple[Webhook, str]:
        """The webhook with a new secret, enabled. With ``keep_old`` events are signed with both for 24 hours."""
        held = await self._ledger.get(account, webhook_id)
        until = dt.datetime.now(dt.UTC) + _OLD_SECRET if keep_old else None
        changed = replace(
            held, generation=held.generation + 1, previous_until=until, disabled_at=None, disabled_reason=None
        )
        webhook = await self._ledger.put(changed)
        return webhook, self._secrets.shown(webhook)

    async def test(self, account: str, webhook_id: str) -> None:
        """Send an event of type ``webhook.test`` to one webhook."""
        event = Happened(account, f"evt_{uuid.uuid4().hex}", "webhook.test", {"id": webhook_id, "object": "webhook"})
        await self._ledger.publish(event, webhook_id)

    @asynccontextmanager
    async def callback(self, account: str, url: str, submission: str) -> AsyncIterator[str]:
        """Send the result of the job of ``submission``, which the block creates, to ``url``.

        The webhook is removed if the block fails. Yields the secret of the account's callbacks. Raises InvalidParameter,
        and what the block raises.
        """
        check_url(url, "callback_url")
        fresh = Webhook(f"wh_{uuid.uuid4().hex}", account, url, _CALLBACK_EVENTS, submission=submission)
        made = await self._ledger.put(fresh)
        try:
            yield self._secrets.shown(made)
        except BaseException:
            with suppress(FluxionsError):  # if the ledger is unavailable, it has not created the job either
                await self._ledger.delete(account, made.id)
            raise


def check_url(url: str, param: str) -> None:
    """Raises InvalidParameter unless ``url`` is an HTTP URL. Its addresses are checked at each connection."""
    try:
        parts = urlsplit(url)
        port = parts.port
        httpx.Request("POST", url)
    except (ValueError, httpx.InvalidURL):  # UnicodeError for a host that is no Punycode is a ValueError
        raise InvalidParameter(f"{param}: this is no address", param=param) from None
    if len(url) > MAX_URL_CHARS or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidParameter(
            f"{param}: send an http or https address of at most {MAX_URL_CHARS} characters, with a host", param=param
        )
    if parts.username or parts.password or parts.fragment:
        raise InvalidParameter(f"{param}: leave name, password and fragment out of the address", param=param)
    if any(char <= " " or char == "\x7f" for char in url):
        raise InvalidParameter(f"{param}: an address has no spaces or control characters", param=param)
