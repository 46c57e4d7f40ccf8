"""Archives for certain: a real Prefect server, a real Dask cluster, gateway, ledger, the embedded engines; and deaths."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from runtime import frames
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, running
from tests.e2e import recordings
from tests.integration.test_long_files import Gate, Instance, until
from tests.support import archive_kit
from tests.support.processes import free_port, started_async

pytestmark = pytest.mark.integration

PREFECT = str(Path(sys.executable).parent / "prefect")
SMALL = {"FLUXIONS_ARCHIVE_BATCH_FILES": "4", "FLUXIONS_ARCHIVE_WORKERS": "2", "FLUXIONS_ARCHIVE_FILES_AT_ONCE": "2"}


LONGEST_SECS = 180.0
"""Far more than the work takes, on a machine that has other things to do."""


@asynccontextmanager
async def platform(home: Path) -> AsyncIterator[Instance]:
    """Gateway and ledger here, on a port of loopback."""
    port = free_port()
    (home / "keys").mkdir()
    (home / "keys" / "operator").write_text(OPERATOR_KEY)
    settings = Settings(server=ServerSettings(home=home, port=port), storage=StorageSettings(fsync=False))
    async with (
        running(home, settings) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": USER_KEY}, timeout=60) as client,
    ):
        found = Instance(home, gateway, port, client)

        @gateway.app.middleware("http")
        async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
            await found.admit(request.url.path)
            found.asked[f"lane {request.query_params.get('lane')}"] += 1
            if found.failing[request.url.path] > 0:
                found.failing[request.url.path] -= 1
                body = {"error": {"message": "it ran hot", "type": "engine_error", "code": "engine_failure", "param": None}}
                return JSONResponse(body, 500)
            return await answer(request)

        server = uvicorn.Server(uvicorn.Config(gateway.app, port=port, log_level="error", ws="none"))
        task = asyncio.create_task(server.serve())
        try:
            yield found
        finally:
            server.should_exit = True
            await task


class Flow:
    """An archive run in a process of its own, as the command line starts it."""

    def __init__(self, here: Instance, process: asyncio.subprocess.Process) -> None:
        self.here, self.process = here, process

    async def events(self) -> list[dict[str, Any]]:
        """All it said, once it has ended."""
        assert self.process.stdout is not None
        said: list[dict[str, Any]] = []
        async with asyncio.timeout(LONGEST_SECS):
            while (frame := await frames.read_async(self.process.stdout)) is not None:
                said.append(frame.head)
        await asyncio.wait_for(self.process.wait(), LONGEST_SECS)
        return said

    def dask_workers(self) -> list[psutil.Process]:
        return archive_kit.dask_workers(self.process.pid)


@asynccontextmanager
async def flow(here: Instance, mode: str, request: dict[str, Any], **changes: str) -> AsyncIterator[Flow]:
    env = os.environ | SMALL | {
        "FLUXIONS_HOME": str(here.home),
        "FLUXIONS_URL": f"http://127.0.0.1:{here.port}",
        "PREFECT_API_URL": f"http://127.0.0.1:{here.prefect_port}/api",
        "PREFECT_HOME": str(here.home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }  # fmt: skip
    with (here.home / "archive.log").open("ab") as log:
        argv = (sys.executable, "-m", "flows.archives.program", mode)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        async with started_async(*argv, env=env | changes, **pipes) as process:
            assert process.stdin is not None
            process.stdin.write(frames.encode(request))
            process.stdin.close()
            yield Flow(here, process)


async def asked(here: Instance, path: str, **params: Any) -> Any:
    answer = await here.client.get(path, params=params, headers={"Authorization": OPERATOR_KEY})
    return answer.raise_for_status().json()


async def counts(here: Instance) -> dict[str, Any]:
    runs = (await asked(here, "/operator/archives"))["archives"]
    return dict(runs[0]["counts"]) if runs else {"completed": 0, "processing": 0}


async def at_least(here: Instance, state: str, number: int) -> None:
    async def reached() -> bool:
        return bool((await counts(here))[state] >= number)

    await until(reached, f"{number} {state} files", LONGEST_SECS)


async def history(here: Instance) -> list[dict[str, Any]]:
    """The owner's completed transcriptions."""
    found = (await here.client.get("/transcriptions", params={"limit": 100})).json()["transcriptions"]
    return [one for one in found if one["status"] == "completed"]


async def reasons(here: Instance) -> dict[str, str]:
    """Why files have no transcript, by where they lie."""
    found = []
    for state in ("failed", "skipped"):
        found += (await asked(here, "/operator/archives/1/files", status=state))["files"]
    return {one["location"]: one["reason"] for one in found}


async def unfinished(here: Instance) -> Path:
    """A file that was begun, and is not done."""
    found: list[str] = []

    async def begun() -> bool:
        rows = (await asked(here, "/operator/archives/1/files"))["files"]
        found[:] = [row["location"] for row in rows if row["status"] in ("processing", "waiting")]
        # The tables may be a moment behind the ledger.
        current = sum(row["status"] == "completed" for row in rows) == (await counts(here))["completed"]
        return current and bool(found)

    await until(begun, "a file that is begun and not done", LONGEST_SECS)
    return Path(found[0])


async def prefect(here: Instance, what: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"http://127.0.0.1:{here.prefect_port}/api/{what}/filter", json=wanted)
    return list(answer.raise_for_status().json())


def plant(folder: Path, good: int) -> None:
    """``good`` different recordings, and files that are none."""
    folder.mkdir()
    for number in range(good):
        (folder / f"call-{number:02}.wav").write_bytes(recordings.sentence(number % 4, seed=number))
    (folder / "notes.txt").write_text("these are the calls of May")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(recordings.sentence(0)[:9000])


async def test_a_dask_worker_and_the_flow_are_killed_and_every_file_is_there_once(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    plant(calls, 10)
    request = {"source": str(calls), "strict": True}
    async with platform(tmp_path) as here:
        # Two files of the ten wait for their words until the flow is killed.
        recognize = here.gates["/operator/recognize"] = Gate(4)
        with here.prefect():
            async with flow(here, "run", request) as first:
                await at_least(here, "completed", 1)
                first.dask_workers()[0].kill()
                # Two requests of the killed worker may use up what is let through.
                recognize.allow(4)
                await at_least(here, "completed", (await counts(here))["completed"] + 2)
                family = [*first.dask_workers(), *archive_kit.dask_forkserver(first.process.pid)]
                first.process.kill()
                await asyncio.wait_for(first.process.wait(), LONGEST_SECS)
                assert len(family) == 3
                assert not (await asyncio.to_thread(psutil.wait_procs, family, LONGEST_SECS))[1]
            recognize.open()
            finished = (await counts(here))["completed"]
            # One that the first run had begun is gone before the second.
            vanished = await unfinished(here)
            vanished.unlink()
            here.asked.clear()
            async with flow(here, "run", request) as second:
                assert [one["event"] for one in await second.events()] == ["opened"]
            assert second.process.returncode == 0
            # Of what was finished nothing is worked on again; every sentence is one utterance.
            assert here.asked["/operator/recognize"] == 9 - finished
            assert here.asked["lane archive"] >= 9 - finished
            assert not here.asked["lane interactive"]
            runs = await prefect(here, "flow_runs", {"flow_runs": {"name": {"any_": ["archive 1"]}}})
            assert sorted(run["state"]["type"] for run in runs) == ["COMPLETED", "CRASHED"]
            written = await prefect(here, "artifacts", {"artifacts": {"key": {"any_": ["archive-1"]}}})
            assert "| completed | 9 (0 from cache) |" in written[-1]["data"]

        assert sorted(one["filename"] for one in await history(here)) == sorted(p.name for p in calls.glob("call-*"))
        assert await reasons(here) == {
            str(vanished): "not_listed",
            str(calls / "notes.txt"): "not_audio",
            str(calls / "empty.wav"): "empty_audio",
            str(calls / "cut.wav"): "truncated_audio",
        }
        async with flow(here, "estimate", request) as third:
            (told,) = await third.events()
        assert (told["files"], told["done"], told["left"]) == (12, 12, 0)
        assert told["x_realtime"] > 0
    lying = [path for folder in ("prefect", "archive.log") for path in (tmp_path / folder, *(tmp_path / folder).rglob("*"))]
    assert not [path for path in lying if path.is_file() and OPERATOR_KEY.encode() in path.read_bytes()]


async def test_an_operator_runs_a_manifest_from_a_deployment_and_another_run_is_stopped_and_cancelled(
    tmp_path: Path,
) -> None:
    plant(tmp_path / "calls", 3)
    (tmp_path / "calls" / "long.wav").write_bytes(recordings.long(26))
    (tmp_path / "calls.csv").write_text(
        "path,account,agent\ncalls/call-00.wav,other,Ann\ncalls/gone.wav,,Bob\ncalls/call-00.wav,other,Ann\n,,Cid\n"
        "calls/long.wav,,Dan\n"
    )
    async with platform(tmp_path) as here:
        with here.prefect():
            await prefect_answers(here)
            await command(here, "work-pool", "create", "default", "--type", "process")
            await command(here, "--no-prompt", "deploy", "--all")
            changes = {"FLUXIONS_LONG_FILE_SECS": "12", "FLUXIONS_BLOCK_SECS": "10", "FLUXIONS_URL": url(here)}
            program = (PREFECT, "worker", "start", "--pool", "default")
            with here._started("prefect-worker", SMALL | changes, *program):
                source = json.dumps(str(tmp_path / "calls.csv"))
                await command(here, "deployment", "run", "archive/archive", "--param", f"source={source}")

                async def ended() -> bool:
                    runs = await prefect(here, "flow_runs", {"flow_runs": {"name": {"any_": ["archive 1"]}}})
                    return bool(runs) and runs[0]["state"]["type"] not in ("PENDING", "RUNNING", "SCHEDULED")

                await until(ended, "the end of the deployment's run", LONGEST_SECS)
            (run,) = await prefect(here, "flow_runs", {"flow_runs": {"name": {"any_": ["archive 1"]}}})
            assert run["state"]["type"] == "COMPLETED", run["state"]
            manifest, calls = tmp_path / "calls.csv", tmp_path / "calls"
            assert await reasons(here) == {
                f"line 3: {calls}/gone.wav": "no_such_file",
                f"line 4: {manifest}": "duplicate_path",
                f"line 5: {manifest}": "invalid_row",
            }
            assert [one["filename"] for one in await history(here)] == ["long.wav"]
            assert here.kept >= 3  # The blocks of the long one are kept as any other's.
            done = (await asked(here, "/operator/archives/1/files", status="completed"))["files"]
            assert sorted((one["account"], json.loads(one["metadata"])["agent"]) for one in done) == [
                ("default", "Dan"),
                ("other", "Ann"),
            ]

            # Ctrl-C: nothing is left leased behind; cancelled from elsewhere, the run ends by itself.
            (tmp_path / "more").mkdir()
            for number in range(4):
                (tmp_path / "more" / f"{number}.wav").write_bytes(recordings.long(20, seed=number + 50))
            async with flow(here, "run", {"source": str(tmp_path / "more")}) as stopped:
                await at_least(here, "processing", 2)
                stopped.process.send_signal(signal.SIGINT)
                await stopped.events()
            assert stopped.process.returncode == 130
            assert (await counts(here))["processing"] == 0
            async with flow(here, "run", {"source": str(tmp_path / "more")}) as cancelled:
                await at_least(here, "processing", 2)
                answer = await here.client.post("/operator/archives/2/cancel", headers={"Authorization": OPERATOR_KEY})
                assert answer.json()["status"] == "cancelled"
                await cancelled.events()
            assert cancelled.process.returncode == 0
            wanted = {"name": {"any_": ["archive 2"]}, "state": {"type": {"any_": ["CANCELLED"]}}}
            (last,) = await prefect(here, "flow_runs", {"flow_runs": wanted})
            assert "was cancelled" in last["state"]["message"]


def url(here: Instance) -> str:
    return f"http://127.0.0.1:{here.port}"


async def prefect_answers(here: Instance) -> None:
    async def healthy() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://127.0.0.1:{here.prefect_port}/api/health")).is_success
            except httpx.TransportError:
                return False

    await until(healthy, "Prefect's server", LONGEST_SECS)


async def command(here: Instance, *arguments: str) -> None:
    """One call of `prefect` that must succeed."""
    env = os.environ | {
        "PREFECT_API_URL": f"http://127.0.0.1:{here.prefect_port}/api",
        "PREFECT_HOME": str(here.home / "prefect"),
        "DO_NOT_TRACK": "1",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    async with started_async(PREFECT, *arguments, env=env, **pipes) as process:
        out, _ = await asyncio.wait_for(process.communicate(), LONGEST_SECS)
    assert process.returncode == 0, out.decode()
