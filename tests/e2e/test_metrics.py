"""Metrics of the running platform: one scrape has what all of its processes counted, and shows a fault."""

from __future__ import annotations

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve.supervisor.metrics_endpoint import TARGETS
from tests.e2e.recordings import sentence
from tests.e2e.stack import Stack, until, wait_for

pytestmark = pytest.mark.e2e

WORKING = {
    "the gateway": ("fluxions_http_requests_total", {"route": "/submit", "status": "2xx"}),
    "the ledger": ("fluxions_commit_seconds_count", {"table": "job_events"}),
    "the recogniser": ("fluxions_engine_calls_total", {"slot": "recognizer"}),
    "the synthesiser": ("fluxions_engine_seconds_total", {"slot": "synthesizer"}),
    "the engines, as the gateway sees them": ("fluxions_engine_ready", {"slot": "diarizer"}),
}


def endpoints(stack: Stack) -> dict[str, str]:
    written = json.loads((stack.home / TARGETS).read_text())
    return {one["labels"]["part"]: f"http://{one['targets'][0]}/metrics" for one in written}


def scraped(stack: Stack, name: str, labels: dict[str, str]) -> float | None:
    text = httpx.get(endpoints(stack)["fluxions"], timeout=10.0, trust_env=False).raise_for_status().text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def test_one_scrape_has_what_every_process_counted(stack: Stack, client: httpx.Client) -> None:
    client.post("/vui/v1/tts", json={"voice": "maeve", "input": "One, two."}).raise_for_status()
    job = client.post("/submit", content=sentence(seed=91), headers={"Content-Type": "audio/wav"}).raise_for_status().json()
    wait_for(client, job["id"])
    assert {who: bool(scraped(stack, *what)) for who, what in WORKING.items()} == dict.fromkeys(WORKING, True)


@pytest.mark.parametrize(("part", "series"), [("ray", "ray_node_mem_used"), ("haproxy", "haproxy_process_uptime_seconds")])
def test_ray_and_haproxy_answer_beside(stack: Stack, part: str, series: str) -> None:
    def answers() -> bool:
        try:
            return series in httpx.get(endpoints(stack)[part], timeout=10.0, trust_env=False).text
        except httpx.HTTPError:
            return False

    until(answers, f"{series} of {part}")


def test_a_worker_that_dies_shows(stack: Stack) -> None:
    what = ("fluxions_process_restarts_total", {"process": "worker"})
    before = scraped(stack, *what) or 0.0
    stack.kill_one("flows.worker")
    until(lambda: (scraped(stack, *what) or 0.0) == before + 1, "the restart of the worker in the metrics")
    until(lambda: stack.processes("flows.worker"), "a worker")
