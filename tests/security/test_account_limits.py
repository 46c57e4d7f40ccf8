"""Limits of accounts: unfinished and concurrent transcriptions, hours of audio, characters, time of searches."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from lakehouse.ledger.ledger import Ledger
from runtime import boot_clock
from schemas.settings import EngineSettings, LimitSettings, ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, USER_KEY, Running, running
from tests.contract.speaking import served
from tests.contract.test_realtime_socket import ask, opened
from tests.integration.test_decode import wav
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, transcript, until_projected
from tests.support.realtime_kit import ScriptedEngines, written

pytestmark = pytest.mark.security


@asynccontextmanager
async def limited(folder: Path, **limits: float) -> AsyncIterator[tuple[Running, httpx.AsyncClient, httpx.AsyncClient]]:
    """A gateway with limits, its first account's client and the other's."""
    settings = Settings(
        server=ServerSettings(home=folder),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        limits=LimitSettings(**limits),
    )
    async with running(folder, settings) as gateway, gateway.client(USER_KEY) as one, gateway.client(OTHER_KEY) as other:
        yield gateway, one, other


def sound(number: int) -> bytes:
    return wav(bytes([number, 0]) * 1600, rate_hz=16_000)


def check_refusal(response: httpx.Response, most: int) -> None:
    assert response.status_code == 429, response.text
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["RateLimit-Limit"] == str(most)
    assert response.headers["RateLimit-Remaining"] == "0"
    assert int(response.headers["RateLimit-Reset"]) >= 1


async def test_an_account_has_so_many_unfinished_jobs(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", unfinished_jobs=2) as (gateway, client, other):
        sent = await asyncio.gather(*(client.post("/submit", content=sound(n)) for n in range(5)))
        taken = [one for one in sent if one.status_code == 200]
        assert len(taken) == 2, "uploads at the same time passed the limit together"
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(64):
                read += 65_536
                yield bytes(65_536)

        check_refusal(await client.post("/submit", content=endless()), 2)
        # The test's client sends a body without being asked for it; the gateway takes no byte of it.
        stored = list((tmp_path / "home" / "data" / "objects").rglob("*"))
        assert sum(path.is_file() for path in stored) == 2
        assert (await other.post("/submit", content=sound(9))).status_code == 200
        assert (await client.delete(f"/transcriptions/{taken[0].json()['id']}")).status_code == 200
        assert (await client.post("/submit", content=sound(7))).status_code == 200
        async with gateway.client(OPERATOR_KEY) as worker:
            assert (await worker.post("/operator/jobs/claim", json={"worker": "w", "wait_secs": 0})).status_code == 200


async def test_an_account_has_so_many_hours_transcribed_in_a_day(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", audio_hours_per_day=0.1) as (gateway, client, other):
        jobs = gateway.ledger.jobs
        assert (await client.post("/submit", content=sound(1))).status_code == 200
        claim = await jobs.claim("w", 5)
        assert claim is not None
        await jobs.complete(claim.job.id, claim.lease, outcome(claim.job, audio_duration_secs=400.0), transcript())
        check_refusal(await client.post("/submit", content=sound(2)), 0)
        assert (await other.post("/submit", content=sound(2))).status_code == 200


async def test_hours_are_counted_across_restarts_and_for_a_day(tmp_path: Path) -> None:
    settings, clock = home(tmp_path), ManualClock()
    ledger = await Ledger.open(settings, clock=clock)
    await ledger.jobs.create(new_job("a"))
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())
    assert (await ledger.jobs.create(new_job("a"))).cached
    await until_projected(ledger)
    before = await ledger.jobs.load_of("ada")
    await ledger.close()
    ledger = await Ledger.open(settings, clock=clock)
    try:
        assert before.audio_secs == 300.0, "a cached job was counted"
        assert await ledger.jobs.load_of("ada") == before
        # Of three recordings of 300 s, some hours apart, two must be a day old before less than 400 s are left.
        for name in ("b", "c"):
            clock.advance(3600)
            await ledger.jobs.create(new_job(name))
            claim = await ledger.jobs.claim("w", 5)
            assert claim is not None
            await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())
        day = dt.timedelta(days=1).total_seconds()
        frees = [(await ledger.jobs.load_of("ada", limit)).frees_in_secs for limit in (1000.0, 900.0, 400.0, 300.0)]
        assert frees == [0, pytest.approx(day - 7200), pytest.approx(day - 3600), pytest.approx(day)]
        clock.advance(frees[2] + 1)
        assert (await ledger.jobs.load_of("ada")).audio_secs == 300.0
        clock.advance(3600)
        assert (await ledger.jobs.load_of("ada")).audio_secs == 0
    finally:
        await ledger.close()


async def test_further_jobs_of_an_account_wait_while_so_many_are_processed(tmp_path: Path) -> None:
    plain = home(tmp_path)
    settings = plain.model_copy(update={"limits": LimitSettings(jobs_at_once=2)})
    ledger = await Ledger.open(settings)
    try:
        ids = [(await ledger.jobs.create(new_job(f"ada {n}"))).id for n in range(6)]
        bobs = (await ledger.jobs.create(new_job("bob", account="bob"))).id
        claims = [await ledger.jobs.claim("w", 0.2) for _ in range(4)]
        started = [claim.job.id if claim else None for claim in claims]
        assert started == [ids[0], ids[1], bobs, None]
        assert (await ledger.maintenance.stats()).queue_length == 4
        assert claims[0] is not None
        assert claims[1] is not None
        # A held job that is cancelled takes nobody's turn.
        await ledger.jobs.cancel("ada", ids[2])
        await ledger.jobs.complete(ids[0], claims[0].lease, outcome(claims[0].job), transcript())
        following = await ledger.jobs.claim("w", 5)
        assert following is not None
        assert following.job.id == ids[3]
        await ledger.jobs.release(ids[1], claims[1].lease)
        again = await ledger.jobs.claim("w", 5)
        assert again is not None
        assert again.job.id in (ids[1], ids[4])
        assert await ledger.jobs.claim("w", 0.2) is None
    finally:
        await ledger.close()


async def test_an_account_has_so_many_characters_spoken_in_a_day(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", chars_per_day=30, requests_per_minute=90) as (_, client, other):
        ask = {"voice": "maeve", "input": "Twenty characters ok", "verify_chunks": False}
        assert (await client.post("/vui/v1/tts", json=ask)).status_code == 200
        check_refusal(await client.post("/vui/v1/tts", json=ask), 30)
        theirs = {"model": "tts-1", "voice": "alloy", "input": ask["input"]}
        check_refusal(await client.post("/v1/audio/speech", json=theirs), 30)
        assert (await client.post("/vui/v1/tts", json=ask | {"input": "Ten chars."})).status_code == 200
        assert (await other.post("/vui/v1/tts", json=ask)).status_code == 200


async def test_a_clock_that_is_set_back_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead_secs, now = [3600.0], time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead_secs[0])
    async with limited(tmp_path / "home", chars_per_day=30, requests_per_minute=3) as (_, client, _other):
        for expected in (200, 200, 200, 429):
            assert (await client.get("/transcriptions")).status_code == expected
        ahead_secs[0] = 0.0
        for expected in (200, 200, 200, 429):
            assert (await client.get("/transcriptions")).status_code == expected


async def test_what_a_conversation_speaks_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(tmp_path / "home", chars_per_day=30) as (gateway, client, _):
        model = ScriptedEngines([written("Twenty characters ok"), written("Twenty characters ok")])
        monkeypatch.setattr(gateway.services.engines, "chat", model.chat)
        monkeypatch.setattr(gateway.services.engines, "language_model", model.language_model)
        async with served(gateway) as address, opened(address) as socket:
            assert (await ask(socket, "Say it."))["response"]["status"] == "completed"
            over = (await ask(socket, "Say it again."))["response"]
        assert (over["status"], over["status_details"]["error"]["code"]) == ("failed", "rate_limited")
        speech = {"voice": "maeve", "input": "Twenty characters ok", "verify_chunks": False}
        check_refusal(await client.post("/vui/v1/tts", json=speech), 30)


async def test_an_account_sends_so_many_bytes_in_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, booted, later = time.time, boot_clock.secs_since_boot, 0.0
    # Time that passes does so by both clocks.
    monkeypatch.setattr(time, "time", lambda: real() + later)
    monkeypatch.setattr(boot_clock, "secs_since_boot", lambda: booted() + later)
    size = len(sound(0))
    async with limited(tmp_path / "home", upload_bytes_per_day=3 * size) as (_, client, other):
        # So that the half of a day is at the half of the limiter's window.
        later = 86_400 * 0.5 - real() % 86_400
        for number in range(3):
            assert (await client.post("/submit", content=sound(number))).status_code == 200
        refused = await client.post("/submit", content=sound(3))
        check_refusal(refused, 3 * size)
        wait_secs = int(refused.headers["Retry-After"])
        # The window ends after half a day; a third of it must then have passed before a third has room.
        assert wait_secs == pytest.approx(86_400 * (0.5 + 1 / 3), abs=60)
        later += wait_secs - 60
        check_refusal(await client.post("/submit", content=sound(3)), 3 * size)
        later += 60
        assert (await client.post("/submit", content=sound(3))).status_code == 200
        assert (await other.post("/submit", content=sound(3))).status_code == 200
        # More than all of it fits at no time.
        check_refusal(await other.post("/submit", content=sound(0) + bytes(3 * size)), 3 * size)


async def test_an_account_may_search_for_so_long_in_a_minute(tmp_path: Path) -> None:
    async with limited(tmp_path / "home", search_secs_per_minute=0.001) as (_, client, other):
        assert (await client.get("/history/search?q=word")).status_code == 200
        for path in ("/history/search?q=word", "/history/conversations/search?q=word"):
            check_refusal(await client.get(path), 1)
        assert (await client.get("/history")).status_code == 200
        assert (await other.get("/history/search?q=word")).status_code == 200


async def test_by_default_no_account_is_limited(tmp_path: Path) -> None:
    async with limited(tmp_path / "home") as (_, client, _other):
        sent = await asyncio.gather(*(client.post("/submit", content=sound(n)) for n in range(4)))
        assert {one.status_code for one in sent} == {200}
