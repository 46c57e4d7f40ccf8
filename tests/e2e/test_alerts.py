"""Faults that the chaos tests make are seen by the alert rules and the dashboard, and are gone when they are mended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from serve.supervisor.metrics_endpoint import TARGETS
from tests.e2e.recordings import sentence
from tests.e2e.stack import Stack, until, wait_for

pytest.importorskip("promql_parser", reason="promql-parser is not installed")
from tests.support.alert_rules import EVERY_SECS, Watch

pytestmark = pytest.mark.e2e

KILLS = 3
LOOKS = 2 * round(120 / EVERY_SECS)
"""Scrapes in twice the time after which the rules here fire."""
HOLD_SECS = 60.0


@pytest.fixture
def watch(stack: Stack) -> Watch:
    (target,) = (one for one in json.loads((stack.home / TARGETS).read_text()) if one["labels"]["part"] == "fluxions")
    url = f"http://{target['targets'][0]}/metrics"

    def scrape() -> str | None:
        try:
            return httpx.get(url, timeout=10.0, trust_env=False).raise_for_status().text
        except httpx.HTTPError:
            return None

    return Watch(scrape)


@contextmanager
def paused(processes: list[psutil.Process]) -> Iterator[None]:
    """Processes that do not run meanwhile, and are not seen as dead."""
    try:
        for one in processes:
            one.suspend()
        yield
    finally:
        for one in processes:
            if one.is_running():
                one.resume()


def seen(watch: Watch, alert: str, state: str) -> Callable[[], bool]:
    return lambda: watch.look().get(alert) == state


def test_a_worker_that_dies_again_and_again(stack: Stack, watch: Watch) -> None:
    assert "FluxionsProcessesRestart" not in watch.look(2)
    for _ in range(KILLS):
        until(lambda: stack.processes("flows.worker"), "a worker")
        killed = stack.kill_one("flows.worker")
        until(lambda gone=killed: gone.pid not in {one.pid for one in stack.processes("flows.worker")}, "its end")
    until(seen(watch, "FluxionsProcessesRestart", "firing"), "the alert")
    assert {"process": "worker"} in watch.labels("FluxionsProcessesRestart")
    assert watch.panel("Programs started again")[frozenset({("process", "worker")})] > KILLS - 1
    until(lambda: stack.processes("flows.worker"), "a worker")


def test_workers_that_do_nothing(stack: Stack, client: httpx.Client, watch: Watch) -> None:
    assert "FluxionsNobodyWorks" not in watch.look(2)
    with paused(stack.processes("flows.worker")):
        job = client.post("/submit", content=sentence(seed=411), headers={"Content-Type": "audio/wav"}).json()
        until(seen(watch, "FluxionsNobodyWorks", "pending"), "the alert that is pending", HOLD_SECS)
        until(seen(watch, "FluxionsNobodyWorks", "firing"), "the alert", HOLD_SECS)
        assert watch.panel("Jobs waiting and in work") == {frozenset(): 1.0}
    assert wait_for(client, job["id"])["status"] == "completed"
    assert "FluxionsNobodyWorks" not in watch.look(LOOKS)


def test_a_ledger_that_is_stuck(stack: Stack, watch: Watch) -> None:
    assert "FluxionsGatewayDown" not in watch.look()
    assert watch.panel("Gateway answers") == {frozenset(): 1.0}
    with paused(stack.processes("LedgerActor")):
        began = time.monotonic()
        until(seen(watch, "FluxionsGatewayDown", "pending"), "the alert that is pending", HOLD_SECS)
        assert watch.panel("Gateway answers") == {frozenset(): 0.0}
        assert time.monotonic() - began < HOLD_SECS
    until(lambda: "FluxionsGatewayDown" not in watch.look(), "its end", HOLD_SECS)
    assert watch.panel("Gateway answers") == {frozenset(): 1.0}
