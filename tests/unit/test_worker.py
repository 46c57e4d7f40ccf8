"""A worker at trouble of its server: what it finished is kept until it is taken, and a lease is lost only where one is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from clients.operator import ClaimedJob, OperatorClient
from flows.progress import Reporter
from flows.worker import RefusedKey, Worker
from schemas.domain import JobOptions
from schemas.errors import FluxionsError
from schemas.settings import JobSettings, ServerSettings, Settings
from tests.support.lakehouse_kit import transcript
from tests.support.processes import free_port

pytestmark = pytest.mark.unit

JOB = ClaimedJob(7, 1, "worker.token", 0.3, "talk.wav", 5, "0" * 64, JobOptions(), "engines-1")
LOCKED = (409, "home_locked", "the storage is written by another ledger")


class Server:
    """Answers each path with the errors it is given, one after the other, and then as asked."""

    def __init__(self) -> None:
        self.errors: dict[str, list[tuple[int, str, str]]] = {}
        self.asked: dict[str, int] = {}
        self.renewed = asyncio.Event()

    async def answer(self, request: Request) -> JSONResponse:
        what = request.path_params["what"]
        self.asked[what] = self.asked.get(what, 0) + 1
        if self.errors.get(what):
            status, code, message = self.errors[what].pop(0)
            return JSONResponse({"error": {"message": message, "type": "", "code": code, "param": None}}, status)
        if what == "renew":
            self.renewed.set()
        return JSONResponse({"blocks": 0, "status": "submitted"})


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[tuple[Server, Worker, OperatorClient]]:
    server, port = Server(), free_port()
    app = Starlette(routes=[Route("/operator/jobs/{id:int}/{what}", server.answer, methods=["POST"])])
    http = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none"))
    serving = asyncio.create_task(http.serve())
    client = OperatorClient(f"http://127.0.0.1:{port}", "key", patience_secs=0.2)
    settings = Settings(server=ServerSettings(home=folder), jobs=JobSettings(lease_secs=2))
    context: Any = None  # Nothing here decodes or asks an engine.
    try:
        refused = RefusedKey(folder / "key", client)
        yield server, Worker(settings, context, client, folder, refused), client
    finally:
        http.should_exit = True
        await asyncio.wait_for(serving, 60)
        await client.close()


async def test_a_finished_transcript_is_kept_while_the_server_is_away(tmp_path: Path) -> None:
    async with worker(tmp_path) as (server, one, _):
        # More refusals than the client's own patience lasts for.
        server.errors["complete"] = [(503, "unavailable", "the ledger is restarting")] * 6
        await asyncio.wait_for(one._deliver(JOB, transcript()), 60)
        assert server.asked["complete"] == 7


async def test_only_a_lost_lease_ends_the_work(tmp_path: Path) -> None:
    async with worker(tmp_path) as (server, one, client):
        for lost in ((409, "lease_lost", "the lease is lost"), (404, "job_not_found", "no job 7")):
            server.renewed.clear()
            server.errors["renew"] = [LOCKED]
            work = asyncio.create_task(asyncio.Event().wait())
            beat = asyncio.create_task(one._heartbeat(JOB, work, Reporter(client, JOB)))  # type: ignore[arg-type]
            await asyncio.wait_for(server.renewed.wait(), 60)
            assert not work.cancelled()
            assert not beat.done()
            server.errors["renew"] = [lost]
            with pytest.raises(FluxionsError):
                await asyncio.wait_for(beat, 60)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(work, 60)


async def test_a_new_worker_without_a_job_soon_loads_what_long_recordings_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    loaded, claims_again = asyncio.Event(), asyncio.Event()

    class NoJobs:
        async def claim(self, _: str, wait_secs: float) -> None:
            waits.append(wait_secs)
            if len(waits) == 2:
                claims_again.set()
                await asyncio.Event().wait()

    async def load() -> None:
        loaded.set()

    monkeypatch.setattr("flows.transcription.pipeline.load_long_files", load)
    nothing: Any = None
    jobs: Any = NoJobs()
    settings = Settings(server=ServerSettings(home=tmp_path), jobs=JobSettings(claim_wait_secs=20))
    run = asyncio.create_task(Worker(settings, nothing, jobs, tmp_path, RefusedKey(tmp_path / "key", jobs)).run())
    await asyncio.wait_for(asyncio.gather(loaded.wait(), claims_again.wait()), 60)
    run.cancel()
    await asyncio.wait({run}, timeout=60)
    assert waits[0] <= 1 < waits[1] == 20
