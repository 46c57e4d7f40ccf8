"""Durable at-least-once delivery of events to webhooks, with backoff.

A delivery exists once its row is committed. Deliveries of a finished job are committed before the job is projected. After
a restart the ledger goes through all jobs that are not projected, and through the last changes of voices, conversations
and archive runs, so no event is lost. The identity of a delivery prevents duplicates.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import logging
import random
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import polars as pl

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.webhooks.catch_up import REMEMBERED, last_of_each_type
from lakehouse.ledger.webhooks.due_queue import DueQueue
from lakehouse.ledger.webhooks.endpoints import WebhookEndpoints
from lakehouse.tables.group_commit import Row, TableWriter
from schemas.domain import Job, JobStatus, Seconds
from schemas.errors import Conflict, NotFound, Unavailable
from schemas.webhooks import RETRY_SECS, Attempt, Delivery, DeliveryStatus, Dispatch, Happened, Webhook

logger = logging.getLogger(__name__)

_NAMES = tuple(f.name for f in fields(Delivery))
_JITTER = 0.2
"""Random relative change of a pause, so that many retries do not coincide."""
_LONGEST_RETRY_AFTER_SECS: Seconds = 86_400.0
_MOST_KNOWN = 500_000
_GONE = 410


class Outbox:
    """Implements `WebhookLedger`."""

    def __init__(
        self, writer: TableWriter, endpoints: WebhookEndpoints, clock: Clock, tasks: ChangeTasks, closed: ClosedAccounts
    ) -> None:
        self._writer = writer
        self._closed = closed
        self._endpoints = endpoints
        self._clock = clock
        self._tasks = tasks
        self._reader = writer.reader()
        self._queue = DueQueue(clock)
        self._known: dict[str, None] = {}
        self._made: list[Delivery] = []
        """Deliveries of finished jobs that are not committed yet."""
        self._seq = 0
        self._flushing = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read webhooks, pending deliveries, and the identities of recent ones."""
        await self._endpoints.load()
        frame = await self._states(pl.lit(True))
        self._seq = int(frame.select(pl.max("seq")).item() or 0)
        recent = self._clock.utc() - REMEMBERED
        for row in frame.iter_rows(named=True):
            delivery = _from_row(row)
            if delivery.status == "pending":
                self._queue.put(delivery)
            if delivery.status == "pending" or delivery.updated_at >= recent:
                self._known[delivery.id] = None

    async def put(self, item: Webhook) -> Webhook:
        """See `WebhookLedger.put`."""
        self._closed.check(item.account)
        return await self._tasks.run(self._endpoints.put(item))

    async def check_room(self, account: str) -> None:
        """See `ItemLedger.check_room`."""
        self._endpoints.check_room(account)

    async def get(self, account: str, item_id: str) -> Webhook:
        """See `WebhookLedger.get`."""
        return self._endpoints.owned(account, item_id)

    async def of_account(self, account: str) -> list[Webhook]:
        """See `WebhookLedger.of_account`."""
        return self._endpoints.of_account(account)

    async def delete(self, account: str, item_id: str) -> Webhook:
        """See `WebhookLedger.delete`."""
        return await self._tasks.run(self._endpoints.delete(account, item_id))

    def forget(self, account: str) -> None:
        """Drop an account's webhooks and their deliveries from memory."""
        self._endpoints.forget(account)
        self._made = [one for one in self._made if one.account != account]
        self._queue.forget(account)

    async def publish(self, event: Happened, webhook_id: str | None = None) -> None:
        """See `WebhookLedger.publish`."""
        if webhook_id is None:
            webhooks = list(self._endpoints.wanting(event.account, event.type, event.submission))
        else:
            webhooks = [self._endpoints.owned(event.account, webhook_id)]
        self._made += self._new(event, webhooks)
        await self._tasks.run(self.flushed())

    async def announce(self, event: Happened) -> None:
        """`publish` for a committed change.

        Raises nothing if the commit of the delivery fails, because `due` repeats it.
        """
        self._made += self._new(event, self._endpoints.wanting(event.account, event.type, event.submission))
        await self._flushed_if_possible()

    async def catch_up(self, events: Sequence[Happened]) -> None:
        """Publish those of the recent ``events``, each with its time, that a killed ledger did not publish."""
        for event, at in last_of_each_type(events):
            # Not to a webhook that was created after the event.
            wanting = self._endpoints.wanting(event.account, event.type, event.submission)
            self._made += self._new(event, [one for one in wanting if one.created_at and one.created_at <= at])
        await self._flushed_if_possible()

    def on_job_final(self, job: Job) -> None:
        """Create the deliveries of a finished job; jobs of archive runs and cancelled or deleted jobs have none."""
        if job.archive_id is not None:
            return
        if job.status not in (JobStatus.COMPLETED, JobStatus.FAILED):
            self.on_job_gone(job)
            return
        kind = "transcription.completed" if job.status is JobStatus.COMPLETED else "transcription.failed"
        data = {"id": job.id, "object": "transcription", "status": job.status.value, "cached": job.cached}
        event = Happened(job.account, f"evt_t{job.id}_{job.revision}", kind, data, job.import_key)  # type: ignore[arg-type]
        wanting = self._endpoints.wanting(job.account, event.type, job.import_key)
        # After a restart this is also called for jobs that ended before a webhook was created.
        webhooks = [one for one in wanting if one.created_at is not None and one.created_at <= job.updated_at]
        if made := self._new(event, webhooks):
            self._made += made
            self._in_background(self.flushed(), "webhook deliveries")

    def on_job_gone(self, job: Job) -> None:
        """End the callbacks of a job that is cancelled or about to be deleted: nothing is sent to them."""
        for callback in self._endpoints.callbacks(job.account, job.import_key):
            self._in_background(self._end_callback(callback), "callback of a job without a result")

    async def flushed(self) -> None:
        """Commit new deliveries, which makes them due.

        After Unavailable they remain uncommitted, and the next call commits them.
        """
        async with self._flushing:
            made = list(self._made)
            if made:
                await self._write(made)
                del self._made[: len(made)]
                for delivery in made:
                    self._queue.put(delivery)

    async def due(self, limit: int, wait_secs: Seconds) -> list[Dispatch]:
        """See `WebhookLedger.due`."""
        deadline = self._clock.monotonic() + wait_secs
        if self._made:
            await self._flushed_if_possible()
        while True:
            found: list[Dispatch] = []
            for delivery in self._queue.take(limit):
                webhook = self._endpoints.find(delivery.webhook_id)
                if webhook is not None and webhook.is_active:
                    found.append(Dispatch(delivery, webhook))
                else:
                    await self._settle_one(delivery, "failed", error="the webhook was deleted or disabled")
            left = deadline - self._clock.monotonic()
            if found or left <= 0:
                return found
            await self._queue.wait(left)

    async def settle(self, attempts: Sequence[Attempt]) -> None:
        """See `WebhookLedger.settle`."""
        await self._tasks.run(self._settle(attempts))

    async def deliveries(self, account: str, webhook_id: str, limit: int) -> list[Delivery]:
        """See `WebhookLedger.deliveries`."""
        self._endpoints.owned(account, webhook_id)
        frame = await self._states((pl.col("account") == account) & (pl.col("webhook_id") == webhook_id))
        return [
            _from_row(row) for row in frame.sort("created_at", "seq", descending=True).head(limit).iter_rows(named=True)
        ]

    async def replay(self, account: str, webhook_id: str, delivery_id: str) -> Delivery:
        """See `WebhookLedger.replay`."""
        if not self._endpoints.owned(account, webhook_id).is_active:
            raise Conflict("the webhook is disabled; enable it first", code="webhook_disabled")
        frame = await self._states((pl.col("webhook_id") == webhook_id) & (pl.col("id") == delivery_id))
        if frame.is_empty():
            raise NotFound(
                f"there is no delivery {delivery_id[:80]} of this webhook", code="delivery_not_found", param="id"
            )
        now = self._clock.utc()
        again = replace(_from_row(frame.row(0, named=True)), status="pending", attempt=0, due_at=now, updated_at=now)
        await self._tasks.run(self._change([again]))
        return again

    async def _flushed_if_possible(self) -> None:
        try:
            await self.flushed()
        except Unavailable as error:
            logger.warning("%d deliveries to webhooks could not be committed yet: %s", len(self._made), error.code)

    def _new(self, event: Happened, webhooks: Iterable[Webhook]) -> list[Delivery]:
        now = self._clock.utc()
        happened = event.at or now
        body = {
            "id": event.id,
            "object": "event",
            "type": event.type,
            "created_at": int(happened.timestamp()),
            "timestamp": happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": event.data,
        }
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        made: list[Delivery] = []
        for webhook in webhooks:
            delivery_id = _identity(webhook.id, event.id)
            if delivery_id not in self._known:
                self._known[delivery_id] = None
                if len(self._known) > _MOST_KNOWN:
                    del self._known[next(iter(self._known))]
                made.append(
                    Delivery(delivery_id, event.account, webhook.id, event.id, event.type, payload, now, now, due_at=now)
                )
        return made

    async def _settle(self, attempts: Sequence[Attempt]) -> None:
        changed: list[Delivery] = []
        for attempt in attempts:
            delivery = self._queue.find(attempt.delivery_id)
            if delivery is not None and attempt.number == delivery.attempt + 1:
                changed.append(_after(delivery, attempt, self._clock.utc()))
        await self._change(changed)
        for delivery in changed:
            webhook = self._endpoints.find(delivery.webhook_id)
            if delivery.response_status == _GONE:
                await self._endpoints.disable(delivery.webhook_id, "the receiver answered 410 Gone")
            if webhook is not None and webhook.submission is not None and delivery.status != "pending":
                await self._endpoints.delete(webhook.account, webhook.id)

    async def _settle_one(self, delivery: Delivery, status: DeliveryStatus, *, error: str) -> None:
        ended = replace(delivery, status=status, error=error, due_at=None, updated_at=self._clock.utc())
        await self._tasks.run(self._change([ended]))

    async def _change(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._write(deliveries)
        for delivery in deliveries:
            if delivery.status == "pending":
                self._queue.put(delivery)
            else:
                self._queue.remove(delivery.id)

    async def _write(self, deliveries: Sequence[Delivery]) -> None:
        rows: list[Row] = []
        for delivery in deliveries:
            self._seq += 1
            rows.append({"seq": self._seq, **{name: getattr(delivery, name) for name in _NAMES}})
        await self._writer.append(rows)

    async def _states(self, wanted: pl.Expr) -> pl.DataFrame:
        """The newest row of each delivery for which ``wanted`` holds."""
        return await asyncio.to_thread(
            self._reader.collect,
            lambda table: table.filter(wanted).sort("seq").unique("id", keep="last", maintain_order=True),
            self._writer.version,
        )

    async def _end_callback(self, callback: Webhook) -> None:
        """Delete a callback to which nothing more is sent. Its waiting deliveries fail when they are due."""
        with contextlib.suppress(NotFound):
            await self._tasks.run(self._endpoints.delete(callback.account, callback.id))

    def _in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._ended_in_background)

    def _ended_in_background(self, task: asyncio.Task[None]) -> None:
        # The projection retries a failed commit of deliveries, and waits for it.
        self._background.discard(task)
        if not task.cancelled():
            task.exception()


def _after(delivery: Delivery, attempt: Attempt, now: dt.datetime) -> Delivery:
    """The delivery after an attempt: delivered if the status is 2xx, else due again until the schedule ends."""
    status = attempt.response_status
    tried = replace(
        delivery, attempt=attempt.number, response_status=status, error=attempt.error, due_at=None, updated_at=now
    )
    if status is not None and 200 <= status < 300:
        return replace(tried, status="delivered", error=None)
    if status == _GONE or attempt.number > len(RETRY_SECS):
        return replace(tried, status="failed")
    pause_secs = RETRY_SECS[attempt.number - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, no secret
    asked_secs = min(attempt.retry_after_secs or 0.0, _LONGEST_RETRY_AFTER_SECS)
    return replace(tried, due_at=now + dt.timedelta(seconds=max(pause_secs, asked_secs)))


def _identity(webhook_id: str, event_id: str) -> str:
    return f"whd_{hashlib.blake2b(f'{webhook_id}/{event_id}'.encode(), digest_size=12).hexdigest()}"


def _from_row(row: Row) -> Delivery:
    return Delivery(**{name: row[name] for name in _NAMES})
