"""The schedules of ``prefect.yaml`` run for certain: a real Prefect server, the serving process, gateway and ledger."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from flows.scheduler import PREFECT_FILE
from lakehouse.ledger.maintenance import TASKS
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.support.processes import free_port, started, started_async

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
# The file's schedules are minutes and hours; the test has seconds.
SERVE = """
import asyncio, re
from flows.scheduler import PREFECT_FILE, main
asyncio.run(main(re.sub(r"interval: \\d+", "interval: 1", PREFECT_FILE.read_text())))
"""


CREDENTIALS = "fluxions:of-this-test"


@contextmanager
def logged(env: dict[str, str], log: Path, *argv: str) -> Iterator[None]:
    # Prefect's server waits for whoever still holds a connection, such as a flow's run that was cut off; then it is killed.
    with log.open("wb") as out, started(argv, env=os.environ | env, stop_secs=10, stdout=out, stderr=out):
        yield


@asynccontextmanager
async def served(gateway: Running, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(gateway.app, port=port, log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def test_a_scheduled_run_reaches_the_ledger(tmp_path: Path) -> None:
    port, prefect = free_port(), free_port()
    api = f"http://127.0.0.1:{prefect}/api"
    env = {
        "FLUXIONS_HOME": str(tmp_path),
        "FLUXIONS_PORT": str(port),
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_API_AUTH_STRING": CREDENTIALS,
        "PREFECT_API_AUTH_STRING": CREDENTIALS,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{prefect}",
    }
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "operator").write_text(OPERATOR_KEY)
    settings = Settings(server=ServerSettings(home=tmp_path, port=port), storage=StorageSettings(fsync=False))
    server = (sys.executable, "-m", "serve.supervisor.prefect_server", str(prefect))
    own = httpx.AsyncClient(auth=tuple(CREDENTIALS.split(":")))  # type: ignore[arg-type] - a pair
    async with running(tmp_path, settings) as gateway, served(gateway, port), own as client:
        with logged(env, tmp_path / "prefect.log", *server):
            await until_healthy(client, api)
            await nobody_else_is_served(api)
            with logged(env, tmp_path / "serve.log", sys.executable, "-c", SERVE):
                await change_deployments(client, api, tmp_path / "executed")
                run = await first_completed(client, api, after=dt.datetime.now(dt.UTC))
    assert run["name"] == "merge"
    assert run["auto_scheduled"]
    assert not (tmp_path / "executed").exists()


async def nobody_else_is_served(api: str) -> None:
    """Without credentials nothing, to a page of another origin nothing, under another name nothing."""
    async with httpx.AsyncClient() as stranger:
        for path in ("deployments/filter", "flow_runs/filter", "block_documents/filter"):
            assert (await stranger.post(f"{api}/{path}", json={})).status_code == 401
        assert (await stranger.get(f"{api}/admin/version")).status_code == 401
        page = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        asked = await stranger.options(f"{api}/deployments/filter", headers=page)
        assert "access-control-allow-origin" not in asked.headers
        assert (await stranger.get(f"{api}/health", headers={"Host": "evil.example"})).status_code == 400


async def changed_in_the_end(client: httpx.AsyncClient, url: str, change: dict[str, Any]) -> None:
    """Change what ``url`` names. The server answers 503, or closes the connection, while its database is busy."""
    while True:
        with suppress(httpx.ReadError):
            changed = await client.patch(url, json=change)
            if changed.is_success:
                return
            assert changed.status_code == 503, changed.text
        await asyncio.sleep(0.05)


async def change_deployments(client: httpx.AsyncClient, api: str, proof: Path) -> None:
    """Give every deployment a pull step that runs a command; flows that take code from the API would run it."""
    step = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {proof}"}}
    async with asyncio.timeout(90):
        while len(found := (await client.post(f"{api}/deployments/filter", json={})).json()) < len(TASKS):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for one in found:
            await changed_in_the_end(client, f"{api}/deployments/{one['id']}", {"pull_steps": [step]})


async def until_healthy(client: httpx.AsyncClient, api: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{api}/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # It is starting.
            await asyncio.sleep(0.2)


async def first_completed(client: httpx.AsyncClient, api: str, after: dt.datetime) -> dict[str, object]:
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}, "start_time": {"after_": after.isoformat()}}
    wanted = {"flow_runs": ended, "limit": 1}
    async with asyncio.timeout(90):
        while not (found := (await client.post(f"{api}/flow_runs/filter", json=wanted)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.3)
    assert found[0]["state"]["type"] == "COMPLETED", found[0]["state"]
    return dict(found[0])


async def test_the_command_prints_what_was_done(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(server=ServerSettings(home=tmp_path, port=port), storage=StorageSettings(fsync=False))
    async with running(tmp_path, settings) as gateway, served(gateway, port):
        code, counts = await command(port, OPERATOR_KEY, "all")
        assert (code, counts["files_merged"], counts["objects_removed"]) == (0, 0, 0)
        assert (await command(port, USER_KEY, "merge"))[0] == 4


async def command(port: int, key: str, task: str) -> tuple[int, dict[str, int]]:
    """Exit code and counts of `fluxions maintain`."""
    argv = ("-m", "cli.main", "maintain", task, "--url", f"http://127.0.0.1:{port}", "--key", key, "--json")
    async with started_async(sys.executable, *argv, stdout=asyncio.subprocess.PIPE) as process:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, json.loads(out)["counts"] if out else {}


def test_every_task_has_its_schedule() -> None:
    described = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    described = [one for one in described if "task" in one["parameters"]]
    assert {one["parameters"]["task"] for one in described} == set(TASKS)
    assert all(one["schedules"] for one in described)
