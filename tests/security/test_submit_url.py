"""Recordings submitted by URL: limits of size and time, and public addresses only by default."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.domain import FetchedRecording
from schemas.errors import Conflict
from schemas.settings import EngineSettings, LimitSettings, ServerSettings, Settings, StorageSettings
from tests.contract.gateway import Running, running
from tests.contract.speaking import served
from tests.integration.test_decode import wav
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, transcript

pytestmark = pytest.mark.security

T = TypeVar("T")
SOUND = wav(bytes(32_000), rate_hz=16_000)


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    half_sent = threading.Event()
    go_on = threading.Event()

    def do_GET(self) -> None:
        """A redirect to a recording that its answer names; one that stops halfway; one that breaks off; one whose length is
        not declared."""
        if self.path.startswith(("/slow", "/broken")):
            self.send_response(200)
            self.send_header("Content-Length", str(len(SOUND)))
            self.end_headers()
            self.wfile.write(SOUND[: len(SOUND) // 2])
            if self.path.startswith("/slow"):
                self.half_sent.set()
                self.go_on.wait(60)
                with suppress(OSError):  # the other end may have hung up
                    self.wfile.write(SOUND[len(SOUND) // 2 :])
        elif self.path.startswith("/packed"):
            self.send_response(200)
            layers = int(self.path.removeprefix("/packed"))
            self.send_header("Content-Encoding", ", ".join(["gzip"] * layers))
            self.end_headers()
            self.wfile.write(reduce(lambda body, _: gzip.compress(body), range(layers), SOUND))
        elif self.path.startswith("/unsized"):
            self.send_response(200)
            self.end_headers()  # HTTP/1.0: the body ends with the connection
            self.wfile.write(SOUND + bytes(int(self.path.removeprefix("/unsized"))))
        elif self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/talk.wav?named")
            self.end_headers()
        else:
            super().do_GET()

    def end_headers(self) -> None:
        if self.path.endswith("?named"):
            self.send_header("Content-Disposition", "attachment; filename*=UTF-8''board%20caf%C3%A9.wav")
        super().end_headers()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "talk.wav").write_bytes(SOUND)
    (tmp_path / "web" / "big.wav").write_bytes(SOUND + bytes(200_000))
    (tmp_path / "web" / "notes.txt").write_text("no recording " * 400)
    _Files.half_sent.clear()
    _Files.go_on.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=tmp_path / "web")) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        _Files.go_on.set()
        server.shutdown()
        thread.join(20)


@asynccontextmanager
async def limited(home: Path, **limits: float) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    settings = Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        limits=LimitSettings(max_upload_bytes=100_000, **limits),
    )
    async with running(home, settings) as gateway, gateway.client() as client:
        yield gateway, client


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer that is true, within 30 s."""
    async with asyncio.timeout(30):
        while not (answer := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return answer


async def settled(client: httpx.AsyncClient, job_id: int) -> dict[str, Any]:
    """A job once its recording was fetched, or could not be."""

    async def ask() -> dict[str, Any]:
        body: dict[str, Any] = (await client.get(f"/transcriptions/{job_id}")).json()
        return {} if body["status"] == "processing" else body

    return await eventually(ask)


async def fetched(client: httpx.AsyncClient, **ask: Any) -> dict[str, Any]:
    made = await client.post("/submit", json=ask)
    assert made.status_code == 200, made.text
    assert made.json()["status"] == "processing"
    return await settled(client, made.json()["id"])


async def test_a_url_is_fetched_as_if_its_bytes_were_sent(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (_, client):
        made = await client.post("/submit", json={"url": f"{web}/talk.wav?token=secret"}, params={"non_speech": True})
        body = await settled(client, made.json()["id"])
        assert (body["filename"], body["non_speech"], body["status"]) == ("talk.wav", True, "submitted")
        listed = (await client.get("/transcriptions")).json()["transcriptions"][0]
        assert (await client.get(listed["original_audio_url"])).content == SOUND
        mine = await fetched(client, url=f"{web}/talk.wav", filename="mine.wav", non_speech=True, num_speakers=2)
        assert (mine["filename"], mine["non_speech"]) == ("mine.wav", True)
        for wrong in ({"languages": "en"}, {"language": "no language"}, {"num_speakers": 0}, {"rate": 8000}):
            refused = await client.post("/submit", json={"url": f"{web}/talk.wav"} | wrong)
            assert refused.status_code in (400, 422), wrong
        assert (await fetched(client, url=f"{web}/moved?token=secret"))["filename"] == "board café.wav"
        assert (await fetched(client, url=f"{web}/packed1"))["status"] == "submitted"
        refusals = {
            f"{web}/none.wav?token=secret": (400, "download_failed"),
            f"{web}/big.wav": (413, "payload_too_large"),
            f"{web}/packed2": (400, "download_failed"),
            "http://xn--a/a.wav": (400, "download_failed"),
            "http://[::1/a.wav": (400, "download_failed"),
            "ftp://example.org/a.wav": (400, "bad_frame"),
            "file:///etc/passwd": (400, "bad_frame"),
            "http://127.0.0.1:1/a.wav": (503, "download_failed"),
        }
        for url, expected in refusals.items():
            refused = await client.post("/submit", json={"url": url})
            assert (refused.status_code, refused.json()["error"]["code"]) == expected, url
            assert "secret" not in refused.text
        for nothing in ({}, [], {"url": 3}):
            assert (await client.post("/submit", json=nothing)).status_code == 400
        for url, code in (
            (f"{web}/notes.txt?token=secret", "not_audio"),
            (f"{web}/broken?token=secret", "download_failed"),
        ):
            failed = await fetched(client, url=url)
            assert (failed["status"], failed["error_code"]) == ("failed", code), url
            assert "secret" not in str(failed["error_message"])
        stored = [path for path in (tmp_path / "home" / "data" / "objects").rglob("*") if path.is_file()]
        assert len(stored) == 1


async def test_a_download_is_seen_while_it_lasts(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (gateway, client):
        job_id = (await client.post("/submit", json={"url": f"{web}/slow"})).json()["id"]
        assert await asyncio.to_thread(_Files.half_sent.wait, 30)

        async def arriving() -> dict[str, Any]:
            progress: dict[str, Any] = (await client.get(f"/transcriptions/{job_id}")).json().get("progress", {})
            return progress if progress.get("fraction") else {}

        progress = await eventually(arriving)
        assert progress["stage"] == "fetching"
        assert 0 < progress["fraction"] < 0.02
        assert await gateway.ledger.jobs.claim("w", 0) is None, "a worker was given a job without a recording"
        seen: list[str] = []
        async with served(gateway) as address, gateway.client() as owner:
            url = f"http://{address}/transcriptions/{job_id}/events"
            async with httpx.AsyncClient(headers=owner.headers) as live, live.stream("GET", url, timeout=30) as events:
                async for line in events.aiter_lines():
                    seen.append(line)
                    if '"stage":"fetching"' in line:
                        _Files.go_on.set()
                    elif '"status":"submitted"' in line:
                        claim = await gateway.ledger.jobs.claim("w", 5)
                        assert claim is not None
                        assert (claim.job.id, claim.job.attempt, claim.job.size_bytes) == (job_id, 1, len(SOUND))
                        await gateway.ledger.jobs.cancel("default", job_id)
        text = "\n".join(seen)
        assert text.index('"stage":"fetching"') < text.index('"status":"submitted"') < text.index('"status":"cancelled"')


async def idle(gateway: Running) -> bool:
    return not gateway.services.remote_submissions.under_way


async def test_a_job_that_is_cancelled_or_deleted_is_fetched_no_further(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (gateway, client):
        for end in ("cancel", "delete"):
            job_id = (await client.post("/submit", json={"url": f"{web}/slow"})).json()["id"]
            path = f"/transcriptions/{job_id}"
            ended = await (client.post(f"{path}/cancel") if end == "cancel" else client.delete(path))
            assert ended.status_code == 200
            await eventually(partial(idle, gateway))
        assert not [path for path in (tmp_path / "home" / "data" / "objects").rglob("*") if path.is_file()]
        # Those that follow are not mistaken for the recording that the deleted job never had.
        assert (await fetched(client, url=f"{web}/talk.wav"))["status"] == "submitted"


async def test_a_gateway_that_stops_fails_what_it_was_fetching(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (gateway, client):
        job_id = (await client.post("/submit", json={"url": f"{web}/slow"})).json()["id"]
        await gateway.services.remote_submissions.close()
        body = await settled(client, job_id)
        assert (body["status"], body["error_code"]) == ("failed", "download_interrupted")


async def test_a_fetch_whose_gateway_died_fails_when_its_lease_expires(tmp_path: Path) -> None:
    settings, clock = home(tmp_path), ManualClock()
    ledger = await Ledger.open(settings, clock=clock)
    waits = replace(new_job("ada"), sha256="", size_bytes=0, audio_key="", fetch_lease="fetch.1", submission="s1")
    job = await ledger.jobs.create(waits)
    assert (job.status, job.worker, job.attempt) == ("processing", "fetch.1", 0)
    assert (await ledger.jobs.create(waits)).id == job.id
    await ledger.close()
    ledger = await Ledger.open(settings, clock=clock)
    try:
        with pytest.raises(Conflict):
            await ledger.jobs.fetched(job.id, "fetch.2", FetchedRecording("ab" * 32, 5, "audio/ada/x", "e"))
        seen = await ledger.jobs.watch("ada", job.id, 0, None, 0)
        assert seen.progress is not None
        async with asyncio.timeout(30):
            while not seen.status.is_final:
                clock.advance(settings.jobs.lease_secs)
                seen = await ledger.jobs.watch("ada", job.id, 0, seen.watch_token, 0.5)
        assert seen.status == "failed"
    finally:
        await ledger.close()


async def test_bytes_that_are_fetched_count_for_the_day(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True, upload_bytes_per_day=60_000) as (_, client):
        assert (await fetched(client, url=f"{web}/talk.wav"))["status"] == "submitted"
        refused = await client.post("/submit", json={"url": f"{web}/talk.wav"})
        assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (429, True)


async def test_bytes_that_were_not_declared_count_for_the_day(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True, upload_bytes_per_day=60_000) as (_, client):
        assert (await fetched(client, url=f"{web}/unsized0"))["status"] == "submitted"
        assert (await client.post("/submit", json={"url": f"{web}/talk.wav"})).status_code == 429


async def test_a_recording_of_undeclared_length_is_fetched_up_to_the_limit_of_an_upload(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (_, client):
        failed = await fetched(client, url=f"{web}/unsized200000")
        assert failed["status"] == "failed"
        assert "larger than the 100000 bytes" in failed["error_message"]


async def test_a_recording_that_does_not_arrive_in_time_is_given_up(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True, fetch_secs=2) as (_, client):
        failed = await fetched(client, url=f"{web}/slow")
        assert (failed["status"], failed["error_code"]) == ("failed", "download_failed")
        assert "longer than 2 s" in failed["error_message"]


async def test_a_result_of_the_same_recording_is_taken_from_the_cache(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home", fetch_private=True) as (gateway, client):
        jobs = gateway.ledger.jobs
        assert (await client.post("/submit", content=SOUND)).status_code == 200
        claim = await jobs.claim("w", 5)
        assert claim is not None
        done = replace(outcome(claim.job), engine_revision=gateway.services.engine_revision)
        await jobs.complete(claim.job.id, claim.lease, done, transcript())
        made = (await client.post("/submit", json={"url": f"{web}/talk.wav"})).json()

        async def completed() -> bool:
            newest = (await client.get("/transcriptions")).json()["transcriptions"][0]
            return (newest["id"], newest["status"]) == (made["id"], "completed")

        assert await eventually(completed)
        assert (await gateway.services.transcriptions.get("default", made["id"])).cached


async def test_addresses_of_this_network_are_refused(tmp_path: Path, web: str) -> None:
    async with limited(tmp_path / "home") as (gateway, client):
        for url in (f"{web}/talk.wav", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://localhost/a"):
            refused = await client.post("/submit", json={"url": url})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "address_refused"), url
        async with gateway.client("fx_wrong") as stranger:
            assert (await stranger.post("/submit", json={"url": f"{web}/talk.wav"})).status_code == 401
