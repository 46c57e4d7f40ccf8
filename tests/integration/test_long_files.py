"""Long recordings: a real Prefect server, a worker process, gateway, ledger and the embedded engines; deaths and waits."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from schemas.settings import EngineSettings, JobSettings, ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.e2e import recordings
from tests.support.processes import free_port, started

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
OBSERVE = "/operator/diarization/observe"
LONG = {"FLUXIONS_LONG_FILE_SECS": "12", "FLUXIONS_BLOCK_SECS": "10", "FLUXIONS_BLOCKS_AT_ONCE": "1"}


class Gate:
    """Lets a number of requests through; the others wait until it is opened."""

    def __init__(self, allowed: int) -> None:
        self._allowed = asyncio.Semaphore(allowed)

    async def enter(self) -> None:
        await self._allowed.acquire()

    def allow(self, more: int) -> None:
        for _ in range(more):
            self._allowed.release()

    def open(self) -> None:
        self.allow(1000)


class Instance:
    """Gateway and ledger here, everything else in processes that may be killed.

    ``asked`` counts requests by path; ``failing`` says of how many more, by path, the engine behind them fails; requests
    of a path in ``gates`` pass its gate first.
    """

    def __init__(self, home: Path, gateway: Running, port: int, client: httpx.AsyncClient) -> None:
        self.home, self.gateway, self.port, self.client = home, gateway, port, client
        self.prefect_port = free_port()
        self.asked: Counter[str] = Counter()
        self.failing: Counter[str] = Counter()
        self.gates: dict[str, Gate] = {}

    async def admit(self, path: str) -> None:
        """Count a request, and let it wait at the gate of its path."""
        self.asked[path] += 1
        if path in self.gates:
            await self.gates[path].enter()

    @property
    def kept(self) -> int:
        """Results of blocks that are stored."""
        return len(list((self.home / "blocks" / "keys").glob("*")))

    async def submit(self, body: bytes, **params: Any) -> int:
        answer = await self.client.post("/submit", content=body, params={"cache": False, **params})
        return int(answer.raise_for_status().json()["id"])

    async def get(self, job_id: int) -> dict[str, Any]:
        return dict((await self.client.get(f"/transcriptions/{job_id}")).json())

    async def completed(self, job_id: int, secs: float = 60) -> dict[str, Any]:
        body = await self.final(job_id, secs)
        assert body["status"] == "completed", body
        return body

    async def final(self, job_id: int, secs: float = 60) -> dict[str, Any]:
        body: dict[str, Any] = {}

        async def final() -> bool:
            body.update(await self.get(job_id))
            return body["status"] not in ("submitted", "processing")

        await until(final, f"the end of job {job_id}", secs)
        return body

    @contextmanager
    def worker(self, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        with self._started("worker", changes, sys.executable, "-m", "flows.worker") as process:
            yield process

    @contextmanager
    def prefect(self) -> Iterator[None]:
        program = str(Path(sys.executable).parent / "prefect")
        argv = (program, "server", "start", "--host", "127.0.0.1", "--port", str(self.prefect_port), "--no-ui")
        with self._started("prefect", {}, *argv):
            yield

    @contextmanager
    def _started(self, name: str, changes: dict[str, str], *argv: str) -> Iterator[subprocess.Popen[bytes]]:
        env = {
            "FLUXIONS_HOME": str(self.home),
            "FLUXIONS_PORT": str(self.port),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.prefect_port}/api",
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        whole = os.environ | env | changes
        with (self.home / f"{name}.log").open("ab") as out, started(argv, env=whole, stdout=out, stderr=out) as process:
            yield process


async def until(condition: Callable[[], Awaitable[bool]], what: str, secs: float = 60) -> None:
    try:
        async with asyncio.timeout(secs):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what} not within {secs:.0f} s") from None


@asynccontextmanager
async def instance(home: Path, engines: EngineSettings | None = None) -> AsyncIterator[Instance]:
    port = free_port()
    (home / "keys").mkdir()
    (home / "keys" / "operator").write_text(OPERATOR_KEY)
    settings = Settings(
        server=ServerSettings(home=home, port=port),
        storage=StorageSettings(fsync=False),
        jobs=JobSettings(lease_secs=4),
        engines=engines or EngineSettings(),
    )
    headers = {"Authorization": USER_KEY}
    async with (
        running(home, settings) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client,
    ):
        found = Instance(home, gateway, port, client)

        @gateway.app.middleware("http")
        async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
            await found.admit(request.url.path)
            return await answer(request)

        server = uvicorn.Server(uvicorn.Config(gateway.app, port=port, log_level="error", ws="none"))
        task = asyncio.create_task(server.serve())
        await until(lambda: _true(server.started), "the gateway")
        try:
            yield found
        finally:
            server.should_exit = True
            await task


async def _true(value: bool) -> bool:
    return value


def flac(wav: bytes) -> bytes:
    """The same samples in another container."""
    with wave.open(io.BytesIO(wav)) as file:
        rate_hz, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    return buffer.getvalue()


async def collect_events(here: Instance, job: int, names: list[str]) -> None:
    """Append to ``names`` what the job's events are called, as they come."""
    async with here.client.stream("GET", f"/transcriptions/{job}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                # Readers look while it grows.
                names.append(line.removeprefix("event: "))  # noqa: PERF401


async def test_a_long_recording_waits_for_prefect_survives_a_kill_and_repeats_nothing(tmp_path: Path) -> None:
    recording = recordings.long(26)
    async with instance(tmp_path) as here:
        job = await here.submit(recording)

        async def waits() -> bool:
            return (await here.get(job)).get("progress", {}).get("stage") == "waiting"

        with here.worker(**LONG) as worker:
            await until(waits, "the stage `waiting`, while Prefect is away")
            assert not here.asked["/operator/recognize"]
            streamed: list[str] = []
            stream = asyncio.create_task(collect_events(here, job, streamed))
            # The third block waits until the words of an earlier one were shown.
            here.gates[OBSERVE] = Gate(2)
            with here.prefect():
                await until(lambda: _true("block" in streamed), "an event with the words of a block")
                assert here.kept >= 1
                worker.kill()
                worker.wait(60)
                here.gates.pop(OBSERVE).open()
                finished = here.kept
                here.asked.clear()

                with here.worker(**LONG):
                    body = await here.completed(job)
                    results = here.kept
                    said = re.search(rf"job {job}: (\d+) blocks, (\d+) results", (tmp_path / "worker.log").read_text())
                    assert said is not None
                    # Words and voices of each block, where anybody talks; what was finished before is not done again.
                    assert int(said[1]) >= 3
                    assert int(said[2]) == results - finished
                    assert 1 <= here.asked[OBSERVE] <= int(said[1])

                    # What is kept of a recording says nothing without its sound.
                    words = [w for s in body["segments"] for w in s["text"].lower().split() if len(w) > 5]
                    lying = [
                        p.read_text(errors="replace").lower() for p in (here.home / "blocks").rglob("*") if p.is_file()
                    ]
                    assert words
                    assert lying
                    assert not [w for w in words if any(f" {w}" in text or f'"{w}' in text for text in lying)]

                    await asyncio.wait_for(stream, 60)
                    assert streamed.count("segment") == len(body["segments"])
                    assert streamed[-1] == "status"

                    here.asked.clear()
                    again = await here.completed(await here.submit(flac(recording), non_speech=True, filename="a.flac"))
                    assert not here.asked["/operator/recognize"]
                    assert not here.asked[OBSERVE]
                    assert here.asked["/operator/events"] == 1
                    assert again["segments"] == body["segments"]
                    assert (again["num_speakers"], again["num_chunks"]) == (body["num_speakers"], body["num_chunks"])


async def test_a_cancelled_job_leaves_its_worker_within_seconds(tmp_path: Path) -> None:
    async with instance(tmp_path) as here:
        long = await here.submit(recordings.long(45, 1))
        short = await here.submit(recordings.sentence())

        async def recognising() -> bool:
            return here.asked["/operator/recognize"] >= 1

        with here.worker(FLUXIONS_WORKER_JOBS="1"):
            await until(recognising, "recognition")
            assert (await here.client.post(f"/transcriptions/{long}/cancel")).status_code == 200
            # The only place of this worker is taken by the long job until that is stopped.
            await here.completed(short, 15)
        assert (await here.get(long))["status"] == "cancelled"
