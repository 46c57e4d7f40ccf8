"""Requests with an Idempotency-Key: carried out once, whoever repeats them, and answered as the first time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.storage.signed_urls import home_secret
from schemas.domain import JobOptions
from schemas.errors import RequestInProgress
from schemas.settings import EngineSettings, ServerSettings, Settings, StorageSettings
from serve.gateway.auth import Principal
from serve.gateway.dependencies import Services
from serve.gateway.fastapi_app import create_app
from serve.gateway.idempotency import Idempotency
from serve.services.stored_answers import FOLDER, KeyedRequest, StoredAnswers
from serve.services.transcriptions import Submission
from tests.contract.gateway import OTHER_KEY, Running, running
from tests.e2e import recordings
from tests.integration.test_long_files import until

pytestmark = pytest.mark.contract

REPLAYED = "idempotent-replayed"


def keyed(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


async def submit(client: httpx.AsyncClient, key: str, seed: int = 1, **params: Any) -> httpx.Response:
    content = recordings.sentence(0, seed=seed)
    return await client.post("/submit", content=content, params={"cache": False, **params}, headers=keyed(key))


async def ids(client: httpx.AsyncClient) -> list[int]:
    listed = (await client.get("/transcriptions", params={"limit": 100})).json()
    return [one["id"] for one in listed["transcriptions"]]


async def test_a_repeated_submit_gets_the_first_answer_from_every_gateway_and_makes_one_job(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    before = await ids(client)
    first = await submit(client, "again", filename="a.wav")
    second = await submit(client, "again", filename="a.wav")
    assert (first.status_code, REPLAYED in first.headers) == (200, False)
    assert (second.status_code, second.headers[REPLAYED]) == (200, "true")
    assert second.json() == first.json()
    # A gateway that has just been started knows it as well.
    fresh = Running(create_app(rebuilt(gateway)), gateway.services, gateway.ledger)
    async with fresh.client() as other:
        third = await submit(other, "again", filename="a.wav")
    assert (third.json(), third.headers[REPLAYED]) == (first.json(), "true")
    assert sorted(set(await ids(client)) - set(before)) == [first.json()["id"]]


def rebuilt(gateway: Running) -> Services:
    s = gateway.services
    return Services.build(
        settings=s.settings,
        ledger=gateway.ledger,
        objects=s.objects,
        secret=home_secret(s.settings.home),
        engines=s.engines,
        engine_revision=s.engine_revision,
    )


def stored(home: Path) -> set[Path]:
    """Claims and answers in the store."""
    return set(home.rglob(f"{FOLDER}/*/*"))


async def test_answers_are_kept_for_a_day_and_over_a_restart(tmp_path: Path) -> None:
    settings = Settings(
        server=ServerSettings(home=tmp_path),
        storage=StorageSettings(fsync=False, orphan_hours=1.0),  # all else that no row names goes after an hour
        engines=EngineSettings(tts_engine="espeak"),
    )
    ages_secs = {"young": 86_400 - 60, "old": 86_400 + 60}
    async with running(tmp_path, settings) as gateway, gateway.client() as client:
        made = {}
        for key, age in ages_secs.items():
            before = stored(tmp_path)
            made[key] = (await submit(client, key)).json()
            for path in stored(tmp_path) - before:
                os.utime(path, (time.time() - age,) * 2)
    async with running(tmp_path, settings) as gateway, gateway.client() as client:
        assert await gateway.ledger.maintenance.run("orphans", 60) is not None
        again = {key: await submit(client, key) for key in ages_secs}
    assert (again["young"].json(), again["young"].headers.get(REPLAYED)) == (made["young"], "true")
    assert REPLAYED not in again["old"].headers


async def test_another_request_under_a_used_key_is_refused(client: httpx.AsyncClient) -> None:
    assert (await submit(client, "used")).status_code == 200
    for changed in (await submit(client, "used", seed=2), await submit(client, "used", filename="b.wav")):
        assert changed.status_code == 422
        assert changed.json()["error"]["code"] == "idempotency_key_reused"
        assert changed.json()["error"]["param"] == "Idempotency-Key"


async def test_keys_belong_to_their_account(gateway: Running, client: httpx.AsyncClient) -> None:
    own = await submit(client, "shared")
    async with gateway.client(OTHER_KEY) as stranger:
        other = await submit(stranger, "shared")
    assert REPLAYED not in other.headers
    assert other.json()["id"] != own.json()["id"]


async def test_a_form_that_is_sent_again_with_a_new_boundary_is_the_same_request(client: httpx.AsyncClient) -> None:
    async def consent(boundary: str) -> httpx.Response:
        parts = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in (("name", "Ann"), ("language", "en"))
        )
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="recording"; filename="a.wav"\r\n\r\n'.encode()
        body = parts + head + recordings.sentence(0) + f"\r\n--{boundary}--\r\n".encode()
        headers = {**keyed("form"), "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return await client.post("/v1/audio/voice_consents", content=body, headers=headers)

    first, second = await consent("a1b2c3d4e5f6"), await consent("0f9e8d7c6b5a4938")
    assert first.status_code == 200, first.text
    assert second.headers[REPLAYED] == "true"
    assert second.json() == first.json()


async def test_a_second_request_meets_409_while_the_first_is_carried_out(client: httpx.AsyncClient) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    content = recordings.sentence(0, seed=5)

    async def slow() -> AsyncIterator[bytes]:
        yield content[:1000]
        begun.set()
        await go_on.wait()
        yield content[1000:]

    params = {"cache": "false"}
    first = asyncio.create_task(client.post("/submit", content=slow(), params=params, headers=keyed("slow")))
    await asyncio.wait_for(begun.wait(), 60)
    meanwhile = await client.post("/submit", content=content, params=params, headers=keyed("slow"))
    assert meanwhile.status_code == 409
    assert meanwhile.json()["error"]["code"] == "idempotency_in_progress"
    assert meanwhile.headers["retry-after"] == "1"
    go_on.set()
    made = (await first).raise_for_status().json()
    assert (await client.post("/submit", content=content, params=params, headers=keyed("slow"))).json() == made


async def test_a_refused_request_may_be_corrected_under_its_key(client: httpx.AsyncClient) -> None:
    refused = await client.post("/submit", content=b"no recording", headers=keyed("wrong"))
    assert refused.status_code == 400
    assert (await submit(client, "wrong")).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "\x7f"])
async def test_a_key_out_of_bounds_is_refused_by_name(client: httpx.AsyncClient, key: str) -> None:
    refused = await submit(client, key)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "Idempotency-Key")


async def test_a_job_made_by_a_gateway_that_died_before_it_answered_is_found_again(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    dead = StoredAnswers(gateway.services.objects, home_secret(gateway.services.settings.home)).request("default", "lost")
    await dead.claim()
    submission = Submission("default", "audio", "audio/wav", JobOptions(), use_cache=False, name=dead.name)
    made = await gateway.services.transcriptions.submit(submission, chunks(recordings.sentence(0, seed=9)))
    assert (await submit(client, "lost", seed=9)).status_code == 409
    await dead.release()  # as if its time were over
    await gateway.ledger.jobs.cancel("default", made.id)

    async def is_over() -> bool:
        return (await gateway.ledger.maintenance.stats()).unprojected == 0

    await until(is_over, "the job's way into its table")
    found = await submit(client, "lost", seed=9)
    assert found.json()["id"] == made.id


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_two_who_find_a_dead_claim_do_not_both_take_it_over(gateway: Running) -> None:
    answers = StoredAnswers(gateway.services.objects, home_secret(gateway.services.settings.home))
    first = answers.request("default", "dead")
    await first.claim()
    await first.release()
    heirs = [answers.request("default", "dead") for _ in range(8)]
    outcomes = await asyncio.gather(*(heir.claim() for heir in heirs), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(isinstance(one, RequestInProgress) for one in outcomes if one is not None)


@pytest.mark.parametrize("step_secs", [-3600.0, 3600.0])
async def test_a_step_of_the_wall_clock_ends_no_claim_and_keeps_none_alive(
    gateway: Running, monkeypatch: pytest.MonkeyPatch, step_secs: float
) -> None:
    answers = StoredAnswers(gateway.services.objects, home_secret(gateway.services.settings.home))
    alive, dead = (answers.request("default", f"{name} {step_secs}") for name in ("alive", "dead"))
    await alive.claim()
    await dead.claim()
    await dead.release()
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + step_secs)
    with pytest.raises(RequestInProgress):
        await answers.request("default", f"alive {step_secs}").claim()
    await answers.request("default", f"dead {step_secs}").claim()


async def test_secrets_in_answers_are_stored_unreadable(gateway: Running, client: httpx.AsyncClient) -> None:
    body = {"url": "https://example.org/hook", "events": ["transcription.completed"]}
    made = await client.post("/v1/webhooks", json=body, headers=keyed("hook"))
    secret = made.json()["secret"]
    assert (await client.post("/v1/webhooks", json=body, headers=keyed("hook"))).json()["secret"] == secret
    objects = gateway.services.objects
    stored = [await objects.get_bytes(key) async for key, _ in objects.list(FOLDER)]
    assert len(stored) >= 2
    assert not [one for one in stored if secret.encode() in one or b"example.org" in one]


class Counting:
    """A route that counts what it carried out, and then breaks or answers."""

    def __init__(self, status: int | None) -> None:
        self.status, self.count = status, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        if self.status is None:
            raise RuntimeError("broken")
        await JSONResponse({"count": self.count}, self.status)(scope, receive, send)


def as_account(app: ASGIApp) -> ASGIApp:
    async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"principal": Principal("ada", "key", frozenset())}
        await app(scope, receive, send)

    return admitted


@pytest.mark.parametrize(("status", "is_kept"), [(201, True), (500, True), (None, True), (503, False), (404, False)])
async def test_errors_after_the_work_began_are_kept_and_refusals_are_not(
    gateway: Running, status: int | None, is_kept: bool
) -> None:
    route = Counting(status)
    app = Idempotency(route, StoredAnswers(gateway.services.objects, b"secret"))
    transport = httpx.ASGITransport(as_account(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for _ in range(2):
            answer = await client.post("/things", content=b"one", headers=keyed(f"status {status}"))
    assert route.count == (1 if is_kept else 2)
    assert (answer.headers.get(REPLAYED) == "true") is is_kept
    assert answer.status_code == (status or 500)


async def test_the_keyed_request_of_another_secret_is_another_one(gateway: Running) -> None:
    one = KeyedRequest(gateway.services.objects, b"one", "ada", "key")
    other = KeyedRequest(gateway.services.objects, b"other", "ada", "key")
    assert one.name != other.name
