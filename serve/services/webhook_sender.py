"""Sends due deliveries to webhooks, a bounded number concurrently, and reports the results to the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from typing import Final

import httpx

from lakehouse.ledger.interface import WebhookLedger
from runtime.untrusted_urls import AddressRefused, async_client
from schemas.domain import Seconds
from schemas.errors import FluxionsError
from schemas.settings import WebhookSettings
from schemas.webhooks import Attempt, Dispatch
from serve.services.webhook_secrets import WebhookSecrets
from telemetry.metrics import WEBHOOKS

_WAIT_SECS: Final[Seconds] = 20.0
_PAUSE_SECS: Final[Seconds] = 1.0
"""Pause after the ledger was unavailable."""
_SETTLED_AT_ONCE: Final = 500
_READ_BYTES: Final = 64 * 1024
"""Most bytes of a response that are read; only the status matters."""
_MOST_ERROR_CHARS: Final = 200

logger = logging.getLogger(__name__)


class WebhookSender:
    """Runs in each gateway; deliveries are leased, so several senders share the work."""

    def __init__(self, settings: WebhookSettings, ledger: WebhookLedger, secrets: WebhookSecrets) -> None:
        self._settings = settings
        self._ledger = ledger
        self._secrets = secrets
        self._free = asyncio.Semaphore(settings.webhook_at_once)
        self._ended: asyncio.Queue[Attempt] = asyncio.Queue()

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = httpx.Timeout(self._settings.webhook_timeout_secs, connect=5.0)
        client = async_client(allow_private=self._settings.webhook_private_addresses, timeout=timeout)
        client.follow_redirects = False
        async with client, asyncio.TaskGroup() as group:
            group.create_task(self._report())
            while True:
                await self._free.acquire()
                self._free.release()
                for one in await self._due():
                    await self._free.acquire()
                    group.create_task(self._send(client, one))

    async def _due(self) -> list[Dispatch]:
        free = max(1, self._free._value)
        try:
            return await self._ledger.due(free, _WAIT_SECS)
        except FluxionsError as error:
            logger.warning("cannot ask which webhooks are due: %s", error.code)
            await asyncio.sleep(_PAUSE_SECS)
            return []

    async def _send(self, client: httpx.AsyncClient, one: Dispatch) -> None:
        try:
            attempt = await self._attempt(client, one)
            WEBHOOKS.labels(_result(attempt)).inc()
            self._ended.put_nowait(attempt)
        finally:
            self._free.release()

    async def _attempt(self, client: httpx.AsyncClient, one: Dispatch) -> Attempt:
        delivery, number = one.delivery, one.delivery.attempt + 1
        payload = delivery.payload.encode()
        headers = self._secrets.headers(one.webhook, delivery.event_id, payload, dt.datetime.now(dt.UTC))
        headers |= {"Content-Type": "application/json", "User-Agent": "Fluxions-Webhooks/1"}
        try:
            async with (
                asyncio.timeout(self._settings.webhook_timeout_secs),
                client.stream("POST", one.webhook.url, content=payload, headers=headers) as answer,
            ):
                read = 0
                async for piece in answer.aiter_raw():
                    read += len(piece)
                    if read > _READ_BYTES:
                        break
            status = answer.status_code
        except AddressRefused as error:
            return Attempt(delivery.id, number, None, str(error)[:_MOST_ERROR_CHARS])
        except Exception as error:  # whatever a URL or its server does, it must not end the deliveries of all others
            return Attempt(delivery.id, number, None, f"no answer: {type(error).__name__}")
        if 200 <= status < 300:
            return Attempt(delivery.id, number, status)
        said = "a redirect, which is not followed" if 300 <= status < 400 else f"HTTP {status}"
        return Attempt(delivery.id, number, status, f"the receiver answered {said}", _retry_after(answer))

    async def _report(self) -> None:
        """Report results of attempts to the ledger in batches. Results that the ledger cannot record now are kept."""
        kept: list[Attempt] = []
        while True:
            if not kept:
                kept.append(await self._ended.get())
            while len(kept) < _SETTLED_AT_ONCE and not self._ended.empty():
                kept.append(self._ended.get_nowait())
            try:
                await self._ledger.settle(kept)
                kept = []
            except FluxionsError as error:
                logger.warning("cannot report %d attempts at webhooks: %s", len(kept), error.code)
                await asyncio.sleep(_PAUSE_SECS)


def _result(attempt: Attempt) -> str:
    if attempt.response_status is None:
        return "no_answer"
    return "delivered" if attempt.error is None else "refused"


def _retry_after(answer: httpx.Response) -> Seconds | None:
    """Seconds of a Retry-After header; dates are ignored."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(answer.headers.get("retry-after", "")))
    return None
