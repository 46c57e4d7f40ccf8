"""What serves is told: every slot with its model and revision, and of one that cannot serve, why not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import wire
from schemas.settings import EngineSettings, ServerSettings, Settings, StorageSettings
from serve.engines.registry import SLOTS
from tests.contract.gateway import OPERATOR_KEY, Running, running

pytestmark = pytest.mark.contract


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway whose recogniser and synthesiser cannot load."""
    engines = EngineSettings(asr_engine="nemo", asr_model="/nope", tts_engine="csm", tts_model="/nowhere")
    settings = Settings(server=ServerSettings(home=tmp_path), storage=StorageSettings(fsync=False), engines=engines)
    async with running(tmp_path, settings) as gateway:
        yield gateway


async def test_every_slot_is_listed(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        async with gateway.client() as client:
            body = (await client.get("/v1/models")).json()
            ready = (await client.get("/ready")).json()
        async with gateway.client(None) as client:
            assert (await client.get("/v1/models")).status_code == 401
    assert body["object"] == "list"
    assert [model["slot"] for model in body["data"]] == list(SLOTS)
    for model in body["data"]:
        assert model["id"]
        assert model["object"] == "model"
        assert model["ready"] is True
        assert model["problem"] is None
        assert model["revision"]
        assert model["capabilities"]
        assert model["replicas"] >= 1
    listening = [model["revision"] for model in body["data"] if model["slot"] not in ("synthesizer", "language_model")]
    assert all(revision in ready["engine_revision"] for revision in listening), "results are kept by what is listed"


async def test_a_slot_that_cannot_serve_says_why_and_the_rest_is_listed(broken: Running) -> None:
    async with broken.client() as client:
        body = (await client.get("/v1/models")).json()
    found = {model["slot"]: model for model in body["data"]}
    assert [slot for slot in SLOTS if found[slot]["ready"]] == ["diarizer", "event_detector", "language_model"]
    assert found["recognizer"]["id"] == "/nope"
    assert found["recognizer"]["engine"] == "nemo"
    assert found["recognizer"]["revision"] is None
    assert "no such file" in found["recognizer"]["problem"]


async def test_ready_stays_503_with_every_reason(broken: Running) -> None:
    async with broken.client(None) as client:
        answer = await client.get("/ready")
    error = answer.json()["error"]
    assert answer.status_code == 503
    assert error["code"] == "not_ready"
    for words in ("recognizer: the engine nemo cannot load /nope", "FLUXIONS_ASR_MODEL", "synthesizer: the engine csm"):
        assert words in error["message"]


async def test_the_operator_sees_it_beside_the_jobs(broken: Running) -> None:
    async with broken.client(OPERATOR_KEY) as client:
        body = (await client.get("/operator/status")).json()
    assert [engine["ready"] for engine in body["engines"]] == [False, True, True, False, True]
    assert "jobs" in body


async def test_a_recording_is_accepted_without_an_engine_and_cached_under_no_real_revision(broken: Running) -> None:
    assert broken.services.engine_revision.startswith("recognizer-unavailable+")


@pytest.mark.parametrize("lane", ["interactive", "archive"])
async def test_both_lanes_are_served(tmp_path: Path, lane: str) -> None:
    async with running(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as client:
        answer = await client.post("/operator/recognize", params={"lane": lane}, content=wire.pack({}, bytes(16_000)))
        assert answer.json()["words"] == []
        wrong = await client.post("/operator/recognize", params={"lane": "express"}, content=wire.pack({}, bytes(16_000)))
    assert wrong.status_code == 422
    assert wrong.json()["error"]["param"] == "lane"
