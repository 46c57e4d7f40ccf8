"""Webhooks by id, and the webhooks that get an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.ledger.clock import Clock
from lakehouse.ledger.item_limits import ItemLimit
from lakehouse.ledger.item_store import ItemStore
from lakehouse.tables.group_commit import TableWriter
from schemas.errors import NotFound
from schemas.webhooks import EventType, Webhook


class WebhookEndpoints:
    """The webhooks of all accounts, in memory until deleted."""

    def __init__(self, writer: TableWriter, clock: Clock, limit: ItemLimit) -> None:
        self._items = ItemStore(writer, clock, _webhook, _not_found, self._check_new)
        self._limit = limit
        self._clock = clock
        self.find = self._items.find
        self.owned = self._items.owned
        self.put = self._items.put
        self.delete = self._items.delete
        self.forget = self._items.forget

    async def load(self) -> None:
        """Read all webhooks from the table."""
        await self._items.load()

    def of_account(self, account: str) -> list[Webhook]:
        """The account's webhooks, newest first, without callback addresses of single jobs."""
        return [one for one in self._items.of_account(account) if one.submission is None]

    def check_room(self, account: str) -> None:
        """See `ItemLedger.check_room`."""
        self._limit.check(len(self.of_account(account)))

    def wanting(self, account: str, kind: EventType, submission: str | None) -> Iterator[Webhook]:
        """Active webhooks of the account that are subscribed to an event; ``submission`` is the submission of the event's
        job.
        """
        for one in self._items.all():
            if one.account == account and one.is_active and kind in one.events and one.submission in (None, submission):
                yield one

    def callbacks(self, account: str, submission: str | None) -> list[Webhook]:
        """The callback addresses of the job of a submission."""
        if submission is None:
            return []
        return [one for one in self._items.all() if one.account == account and one.submission == submission]

    async def disable(self, webhook_id: str, reason: str) -> None:
        """Disable a webhook."""
        async with self._items.lock:
            found = self._items.find(webhook_id)
            if found is not None and found.disabled_at is None:
                await self._items.write(replace(found, disabled_at=self._clock.utc(), disabled_reason=reason))

    def _check_new(self, webhook: Webhook, _own: Sequence[Webhook]) -> None:
        if webhook.submission is None:
            self.check_room(webhook.account)


def _webhook(*, events: list[EventType], **columns: Any) -> Webhook:
    return Webhook(events=tuple(events), **columns)


def _not_found(webhook_id: str) -> NotFound:
    return NotFound(f"there is no webhook {webhook_id[:80]} in your account", code="webhook_not_found", param="id")
