"""What the gateway, the ledger and the engines count while they work, and what a scrape asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

from serve.supervisor.metrics_endpoint import GatewayGauges
from tests.contract.gateway import OPERATOR_KEY, Running
from tests.contract.speaking import served
from tests.support.archive_kit import wav
from tests.support.lakehouse_kit import outcome, transcript

pytestmark = pytest.mark.contract


def counted(name: str, **labels: str) -> Callable[[], float]:
    """How much a sample has grown since this call."""
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    return lambda: (REGISTRY.get_sample_value(name, labels) or 0.0) - before


async def test_a_job_is_counted_from_its_upload_to_its_end(gateway: Running, client: httpx.AsyncClient) -> None:
    requests = counted("fluxions_http_requests_total", route="/submit", status="2xx")
    misses = counted("fluxions_cache_lookups_total", cache="recording", result="miss")
    hits = counted("fluxions_cache_lookups_total", cache="recording", result="hit")
    completed = counted("fluxions_jobs_total", origin="client", outcome="completed")
    cached = counted("fluxions_jobs_total", origin="client", outcome="cached")
    heard = counted("fluxions_audio_seconds_total", direction="in", use="transcription")
    waited = counted("fluxions_queue_wait_seconds_count")
    rows = counted("fluxions_committed_rows_total", table="job_events")
    commits = counted("fluxions_commit_seconds_count", table="job_events")
    locks = counted("fluxions_lock_wait_seconds_count", lock="job")
    sound = wav("counted once")
    (await client.post("/submit", content=sound)).raise_for_status()
    claim = await gateway.ledger.jobs.claim("worker", 5.0)
    assert claim is not None
    await gateway.ledger.jobs.complete(
        claim.job.id, claim.lease, outcome(claim.job, engine_revision=gateway.services.engine_revision), transcript()
    )
    (await client.post("/submit", content=sound)).raise_for_status()
    assert (requests(), misses(), hits(), completed(), cached(), waited()) == (2, 1, 1, 1, 1, 1)
    assert heard() == pytest.approx(300.0)
    assert rows() == 4
    assert 1 <= commits() <= 4
    assert locks() >= 2


async def test_failures_and_errors_are_counted_by_code(gateway: Running, client: httpx.AsyncClient) -> None:
    errors = counted("fluxions_errors_total", code="not_found")
    failures = counted("fluxions_job_failures_total", code="invalid_audio")
    statuses = counted("fluxions_http_requests_total", route="/transcriptions", status="4xx")
    await client.get("/transcriptions/999")
    (await client.post("/submit", content=wav("without sound"))).raise_for_status()
    claim = await gateway.ledger.jobs.claim("worker", 5.0)
    assert claim is not None
    await gateway.ledger.jobs.fail(claim.job.id, claim.lease, "no sound", False, "invalid_audio")
    assert (errors(), failures(), statuses()) == (1, 1, 1)


async def test_speech_is_counted_in_seconds_and_to_its_first_audio(client: httpx.AsyncClient) -> None:
    spoken = counted("fluxions_audio_seconds_total", direction="out", use="speech")
    worked = counted("fluxions_engine_seconds_total", slot="synthesizer")
    first = counted("fluxions_first_audio_seconds_count", streamed="no")
    answer = await client.post("/vui/v1/tts", json={"voice": "maeve", "input": "Hello there.", "stream": False})
    answer.raise_for_status()
    assert spoken() > 0.3
    assert worked() > 0
    assert first() == 1


async def test_a_scrape_asks_the_gateway_for_the_queue(gateway: Running, client: httpx.AsyncClient, tmp_path: Path) -> None:
    key = tmp_path / "operator"
    key.write_text(OPERATOR_KEY)
    (await client.post("/submit", content=wav("waiting"))).raise_for_status()
    async with served(gateway) as address:
        gauges = await asyncio.to_thread(GatewayGauges(f"http://{address}", key))
        key.write_text("fx_not_the_key")
        refused = await asyncio.to_thread(GatewayGauges(f"http://{address}", key))
    assert gauges["fluxions_up"] == {(): 1.0}
    assert gauges["fluxions_queue_jobs"] == {(): 1}
    assert 0 < gauges["fluxions_queue_oldest_seconds"][()] < 600
    assert gauges["fluxions_live_jobs"] == {(("status", "submitted"),): 1}
    assert gauges["fluxions_engine_ready"][("slot", "synthesizer"),] == 1.0
    assert gauges["fluxions_table_version"][("table", "job_events"),] >= 1
    assert refused == {"fluxions_up": {(): 0.0}}
