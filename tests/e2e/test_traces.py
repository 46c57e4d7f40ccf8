"""Traces of the running platform: from a request through the gateway to the engine, and from a worker through both."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.recordings import sentence
from tests.e2e.stack import Stack, until, wait_for
from tests.support.processes import started
from tests.support.trace_receiver import Received, TraceReceiver

pytestmark = pytest.mark.e2e

SAMPLED = 0x01
"""The flag of W3C Trace Context by which a sender says that it records the trace."""
TEXT = "Seven lanterns hang above the quiet harbour."


def of_trace(receiver: TraceReceiver, trace_id: str) -> list[Received]:
    return [span for span in receiver.spans if span.trace_id == trace_id]


def deployments(spans: list[Received]) -> set[str]:
    return {span.attributes.get("deployment", "") for span in spans}


def test_a_request_is_followed_from_the_client_to_the_engine(client: httpx.Client, traces: TraceReceiver) -> None:
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    answer = client.post("/vui/v1/tts", json={"voice": "maeve", "input": TEXT}, headers=headers).raise_for_status()
    assert answer.headers["traceparent"].split("-")[1] == trace_id
    until(
        lambda: deployments(of_trace(traces, trace_id)) >= {"Gateway", "SynthesizerDeployment"},
        "spans of the gateway and of the synthesiser",
    )
    found = of_trace(traces, trace_id)
    assert parent in {span.parent_id for span in found}
    assert not any(TEXT[:20].encode() in body for body in traces.bodies)


def test_a_request_that_does_not_ask_is_not_traced(client: httpx.Client) -> None:
    answer = client.get("/transcriptions").raise_for_status()
    flags = int(answer.headers.get("traceparent", "00-0-0-00").rpartition("-")[2], 16)
    assert not flags & SAMPLED


def test_a_job_is_followed_from_its_worker_to_the_recogniser(
    stack: Stack, client: httpx.Client, traces: TraceReceiver, tmp_path: Path
) -> None:
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    shutil.copy(stack.home / "keys" / "operator", keys / "operator")
    env = os.environ | {
        "FLUXIONS_HOME": str(keys.parent),
        "FLUXIONS_URL": stack.url,
        "FLUXIONS_TRACES_URL": traces.url,
        "FLUXIONS_TRACES_SHARE": "1",
    }
    with started([sys.executable, "-m", "flows.worker"], env=env):

        def job_is_traced() -> bool:
            # The platform's own worker, which is not traced, takes some of the jobs.
            recording = sentence(seed=secrets.randbelow(10**6))
            answer = client.post("/submit", content=recording, headers={"Content-Type": "audio/wav"}).raise_for_status()
            wait_for(client, answer.json()["id"])
            return any(span.name == "job" for span in traces.spans)

        until(job_is_traced, "a job of the traced worker", 90.0)
        job = next(span for span in traces.spans if span.name == "job")
        until(
            lambda: deployments(of_trace(traces, job.trace_id)) >= {"Gateway", "RecognizerDeployment"},
            "spans of the gateway and the recogniser in the job's trace",
        )
    found = of_trace(traces, job.trace_id)
    assert {"decode", "engines"} <= {span.name for span in found if span.parent_id == job.span_id}
