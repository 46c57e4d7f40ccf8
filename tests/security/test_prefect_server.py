"""Prefect's server takes requests of its own clients alone: with credentials, by its own name, and from no web page."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from serve.supervisor.environment import prefect_environment
from serve.supervisor.instance import Instance
from tests.support.processes import ROOT, free_port, started_async

pytestmark = pytest.mark.security

CREDENTIALS = "fluxions:word-of-the-tests"
START_SECS = 240.0


@asynccontextmanager
async def prefect_of_a_home(home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials of a server that is started as the supervisor starts it."""
    port = free_port()
    instance = Instance(os.getpid(), "", str(home), "", {"prefect": port}, "")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        **prefect_environment(instance, CREDENTIALS),
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = (sys.executable, "-m", "serve.supervisor.prefect_server", str(port))
    async with (
        started_async(*command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        httpx.AsyncClient(base_url=instance.prefect_api, trust_env=False, timeout=60) as client,
    ):
        async with asyncio.timeout(START_SECS):
            while True:
                assert process.returncode is None
                try:
                    await client.get("/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
        yield client


async def test_a_stranger_a_page_and_another_name_are_refused(tmp_path: Path) -> None:
    own = httpx.BasicAuth(*CREDENTIALS.split(":"))
    step = [{"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/owned"}}]
    async with prefect_of_a_home(tmp_path) as client:
        assert (await client.post("/deployments/filter", json={}, auth=own)).status_code == 200
        for auth in (None, httpx.BasicAuth("fluxions", "another")):
            for path in ("/deployments/filter", "/flow_runs/filter", "/block_documents/filter", "/variables/filter"):
                assert (await client.post(path, json={}, auth=auth)).status_code == 401
            patch = await client.patch(f"/deployments/{uuid.uuid4()}", json={"pull_steps": step}, auth=auth)
            assert patch.status_code == 401
        # A name that leads here (DNS rebinding), also with the credentials.
        named = await client.post("/deployments/filter", json={}, auth=own, headers={"Host": "evil.example"})
        assert named.status_code == 400
        # A page is told by no answer that its program may read it, or may send what it asks to send.
        page = {"Origin": "http://evil.example"}
        asked = page | {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        for response in (
            await client.options("/deployments/filter", headers=asked),
            await client.post("/deployments/filter", json={}, auth=own, headers=page),
            await client.get("/health", headers=page),
        ):
            assert "access-control-allow-origin" not in response.headers


def test_without_credentials_it_does_not_start() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "serve.supervisor.prefect_server", str(free_port())]
    run = subprocess.run(command, env=env, capture_output=True, timeout=START_SECS, check=False)
    assert run.returncode != 0
    assert b"PREFECT_SERVER_API_AUTH_STRING" in run.stderr
