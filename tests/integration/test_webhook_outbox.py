"""Deliveries of webhooks over days: none is lost, few come twice, and old ones are forgotten."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from benchmarks.storage.webhooks import measure
from lakehouse.ledger.ledger import Ledger
from schemas.webhooks import RETRY_SECS, Attempt, Happened, Webhook
from tests.support.lakehouse_kit import ManualClock, home

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_a_receiver_that_fails_a_third_gets_each_event_and_few_twice(tmp_path: Path) -> None:
    found = {one.name: one.value for one in await measure(tmp_path, 2000)}
    assert found["delivered"] == 2000
    assert found["lost"] == 0
    assert 0 < found["delivered twice or more"] <= 1
    assert found["requests"] > 2900
    assert found["simulated time"] < 72


async def test_settled_deliveries_are_forgotten_after_a_month_and_pending_ones_stay(tmp_path: Path) -> None:
    clock, settings = ManualClock(), home(tmp_path)
    ledger = await Ledger.open(settings, clock=clock)
    try:
        webhook = await ledger.webhooks.put(Webhook("wh_1", "ada", "https://example.org", ("voice.created",)))
        for number in range(3):
            await ledger.webhooks.publish(Happened("ada", f"evt_{number}", "voice.created", {"id": str(number)}))
        found = await ledger.webhooks.due(10, 0)
        assert len(found) == 3
        await ledger.webhooks.settle([Attempt(one.delivery.id, 1, 200) for one in found[:2]])
        await ledger.webhooks.settle([Attempt(found[2].delivery.id, 1, 500, "HTTP 500")])
        clock.advance(31 * 86_400)
        await ledger.webhooks.publish(Happened("ada", "evt_new", "voice.created", {"id": "new"}))
        report = await ledger.maintenance.run("retention", 60)
        assert report is not None
        assert report.counts["deliveries_forgotten"] == 2
        left = {one.event_id: one.status for one in await ledger.webhooks.deliveries("ada", webhook.id, 10)}
        assert left == {found[2].delivery.event_id: "pending", "evt_new": "pending"}
        again = await ledger.maintenance.run("retention", 60)
        assert again is not None
        assert again.counts["deliveries_forgotten"] == 0
    finally:
        await ledger.close()
    ledger = await Ledger.open(settings, clock=clock)
    try:
        assert {one.delivery.event_id for one in await ledger.webhooks.due(10, 0)} == set(left)
        assert clock.utc() > dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
    finally:
        await ledger.close()


async def test_a_clock_that_is_set_back_before_a_restart_delays_no_delivery(tmp_path: Path) -> None:
    clock, settings = ManualClock(), home(tmp_path)
    ledger = await Ledger.open(settings, clock=clock)
    try:
        await ledger.webhooks.put(Webhook("wh_1", "ada", "https://example.org", ("voice.created",)))
        await ledger.webhooks.publish(Happened("ada", "evt_1", "voice.created", {"id": "1"}))
        (found,) = await ledger.webhooks.due(10, 0)
        await ledger.webhooks.settle([Attempt(found.delivery.id, 1, 500, "HTTP 500")])
    finally:
        await ledger.close()
    clock.turn_back(3600)
    ledger = await Ledger.open(settings, clock=clock)
    try:
        assert await ledger.webhooks.due(10, 0) == []
        clock.advance(2 * RETRY_SECS[0])
        assert [one.delivery.event_id for one in await ledger.webhooks.due(10, 0)] == ["evt_1"]
    finally:
        await ledger.close()
