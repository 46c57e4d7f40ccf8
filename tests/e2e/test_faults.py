"""Killing -9 any part during a job ends in a completed job, once."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e import recordings
from tests.e2e import stack as stacks

pytestmark = pytest.mark.e2e


def _submit(client: httpx.Client, seed: int) -> int:
    response = client.post("/submit", content=recordings.long(25, seed), params={"cache": "false"})
    return int(response.raise_for_status().json()["id"])


def _status(client: httpx.Client, job_id: int) -> str:
    return str(client.get(f"/transcriptions/{job_id}").json()["status"])


@pytest.mark.parametrize(
    ("victim", "seed"),
    [
        ("flows.worker", 11),
        ("RecognizerDeployment", 12),
        ("LedgerActor", 14),
        ("Gateway", 15),
    ],
)
def test_a_job_survives_the_death_of(stack: stacks.Stack, client: httpx.Client, victim: str, seed: int) -> None:
    job_id = _submit(client, seed)
    stacks.until(lambda: _status(client, job_id) == "processing", "processing")
    killed = stack.kill_one(victim)
    body = stacks.wait_for(client, job_id, 120)
    assert body["status"] == "completed", body.get("error_message")
    assert body["num_segments"]
    stacks.until(lambda: any(p.pid != killed.pid for p in stack.processes(victim)), f"a new {victim}")
    listed = client.get("/transcriptions", params={"limit": 100}).json()["transcriptions"]
    assert [item["id"] for item in listed].count(job_id) == 1


def test_a_killed_ledger_forgets_nothing_it_acknowledged(stack: stacks.Stack, client: httpx.Client) -> None:
    before = client.get("/transcriptions", params={"limit": 100}).json()
    ids = [client.post("/submit", content=recordings.sentence(3, seed=100 + i)).json()["id"] for i in range(5)]
    stack.kill_one("LedgerActor")
    for job_id in ids:
        assert stacks.wait_for(client, job_id, 120)["status"] == "completed"
    after = client.get("/transcriptions", params={"limit": 100}).json()
    assert after["total"] == before["total"] + 5
    known = [item["id"] for item in after["transcriptions"]]
    assert len(known) == len(set(known))
    assert set(ids) <= set(known)


def test_the_supervisor_brings_back_a_killed_prefect_server(stack: stacks.Stack) -> None:
    killed = stack.kill_one("serve.supervisor.prefect_server")
    stacks.until(
        lambda: any(p.pid != killed.pid for p in stack.processes("serve.supervisor.prefect_server")), "a new Prefect server"
    )


def test_the_whole_cluster_comes_back_and_finishes_what_it_had(stack: stacks.Stack, client: httpx.Client) -> None:
    job_id = _submit(client, 16)
    stacks.until(lambda: _status(client, job_id) == "processing", "processing")
    stack.kill_one("gcs_server")
    body = stacks.wait_for(client, job_id, 180)
    assert body["status"] == "completed", body.get("error_message")
    ready = httpx.get(f"{stack.url}/ready", trust_env=False, timeout=30)
    assert ready.status_code == 200
