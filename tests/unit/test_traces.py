"""Traces: our spans, the context that is passed on, and that nothing leaves that was said or that opens a door."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from telemetry.traces import ATTRIBUTES, is_on, pass_on, span
from tests.support.processes import ROOT, RUN_SECS
from tests.support.trace_receiver import TraceReceiver

pytestmark = pytest.mark.unit

SECRET = "meet me at the old bridge"
PROGRAM = f"""
import asyncio
from opentelemetry import trace
from schemas.errors import EngineFailure
from telemetry import traces

async def block(number):
    with traces.span("block", part="words", block=number):
        await asyncio.sleep(0)

async def main():
    with traces.span("job", job=7, attempt=1):
        headers = {{}}
        traces.pass_on(headers)
        print(headers["traceparent"])
        await asyncio.gather(block(0), block(1))

traces.configure(1.0, "fluxions-worker")
asyncio.run(main())
try:
    with traces.span("flow", job=7):
        raise EngineFailure("{SECRET}", code="out_of_memory")
except EngineFailure:
    pass
tracer = trace.get_tracer("somebody else's")
with tracer.start_as_current_span("GET /objects/{SECRET}") as other:
    other.set_attribute("http.url", "https://example.org/{SECRET}")
    other.set_attribute("request_id", "{SECRET}")
    other.set_attribute("deployment", "Gateway")
    other.add_event("{SECRET}", {{"text": "{SECRET}"}})
    other.set_status(trace.StatusCode.ERROR, "{SECRET}")
trace.get_tracer_provider().shutdown()
"""


def test_spans_arrive_with_their_parents_and_without_what_was_said() -> None:
    with TraceReceiver() as receiver:
        env = {**os.environ, "FLUXIONS_TRACES_URL": receiver.url, "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=RUN_SECS)
        spans = receiver.spans
        sent = b"".join(receiver.bodies)
    by_name = {one.name: one for one in spans}
    job = by_name["job"]
    blocks = [one for one in spans if one.name == "block"]
    assert done.stdout.split("-")[1:3] == [job.trace_id, job.span_id]
    assert [one.parent_id for one in blocks] == [job.span_id] * 2
    assert {one.attributes["fluxions.block"] for one in blocks} == {0, 1}
    assert job.attributes == {"fluxions.job": 7, "fluxions.attempt": 1}
    assert job.service == "fluxions-worker"
    assert (by_name["flow"].attributes["fluxions.code"], by_name["flow"].is_error) == ("out_of_memory", True)
    foreign = by_name["span"]
    assert (foreign.attributes, foreign.num_events, foreign.is_error) == ({"deployment": "Gateway"}, 0, True)
    assert SECRET.encode() not in sent
    assert all(set(one.attributes) <= ATTRIBUTES for one in spans)


def test_without_a_receiver_nothing_is_imported_and_nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXIONS_TRACES_URL", raising=False)
    headers: dict[str, str] = {}
    with span("job", job=1):
        pass_on(headers)
    assert headers == {}
    assert not is_on()
    program = (
        "import sys, clients.operator, telemetry.traces; sys.exit(any('opentelemetry' in name for name in sys.modules))"
    )
    env = {name: value for name, value in os.environ.items() if name != "FLUXIONS_TRACES_URL"}
    argv = [sys.executable, "-c", program]
    assert subprocess.run(argv, env={**env, "PYTHONPATH": str(ROOT)}, check=False, timeout=RUN_SECS).returncode == 0
