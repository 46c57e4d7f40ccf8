"""The schedules of ``prefect.yaml`` run for certain: a real Prefect server, the serving process, gateway and ledger."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import uvicorn
import yaml

from flows.serve_maintenance import PREFECT_FILE
from lakehouse.ledger.upkeep import TASKS
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running

ROOT = Path(__file__).resolve().parents[2]
# The file's schedules are minutes and hours; the test has seconds.
SERVE = """
import asyncio, re
from flows.serve_maintenance import PREFECT_FILE, main
asyncio.run(main(re.sub(r"interval: \\d+", "interval: 1", PREFECT_FILE.read_text())))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(env: dict[str, str], log: Path, *argv: str) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(argv, env=os.environ | env, cwd=ROOT, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                # Prefect's server waits for whoever still holds a connection, such as a flow's run that was cut off.
                process.kill()


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
    }
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "operator").write_text(OPERATOR_KEY)
    settings = Settings(server=ServerSettings(home=tmp_path, port=port), storage=StorageSettings(fsync=False))
    program = str(Path(sys.executable).parent / "prefect")
    server = (program, "server", "start", "--host", "127.0.0.1", "--port", str(prefect), "--no-ui")
    async with running(tmp_path, settings) as gateway, served(gateway, port), httpx.AsyncClient() as client:
        with started(env, tmp_path / "prefect.log", *server):
            await until_healthy(client, api)
            with started(env, tmp_path / "serve.log", sys.executable, "-c", SERVE):
                run = await first_completed(client, api)
    assert run["name"] == "merge"
    assert run["auto_scheduled"]


async def until_healthy(client: httpx.AsyncClient, api: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get(f"{api}/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # It is starting.
            await asyncio.sleep(0.2)


async def first_completed(client: httpx.AsyncClient, api: str) -> dict[str, object]:
    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}, "limit": 1}
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
    argv = ("-m", "serve.cli.main", "maintain", task, "--url", f"http://127.0.0.1:{port}", "--key", key, "--json")
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out)["counts"] if out else {}


def test_every_task_has_its_schedule() -> None:
    described = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
    described = [one for one in described if "task" in one["parameters"]]
    assert {one["parameters"]["task"] for one in described} == set(TASKS)
    assert all(one["schedules"] for one in described)
