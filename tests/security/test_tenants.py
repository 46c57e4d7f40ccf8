"""Requests for another account's data: on every route the response is the same as for missing data."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.records import Conversation, ConversationTurn, Speaker, ToolCall, TtsRender, Voice, VoiceConsent
from schemas.webhooks import Happened, Webhook
from serve.gateway.access import AccessRules
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, running
from tests.integration.test_decode import wav
from tests.support.lakehouse_kit import outcome, transcript

pytestmark = pytest.mark.security

NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)
SECRET = "zanzibar"
OWNED = {
    "name": "none-1",
    "webhook_id": "whk-1",
    "delivery_id": "",  # the ledger chooses it
    "consent_id": "cons-1",
    "speaker_id": "spk-1",
    "job_id": "1",
    "render_id": "1",
    "session_id": "sess_ada",
    "voice_id": "u-ada-1",
}
SHARED_NAMES = {"share", "schema", "table"}
"""Names that are the same for all accounts."""
ABSENT = {
    "name": "none-7",
    "webhook_id": "whk-7",
    "delivery_id": "dlv-7",
    "consent_id": "cons-7",
    "speaker_id": "spk-7",
    "job_id": "77",
    "render_id": "77",
    "session_id": "sess_eve",
    "voice_id": "u-eve-7",
}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway whose first account has one of everything, each with a word that nobody else may read."""
    async with running(tmp_path / "home") as started:
        async with started.client(USER_KEY) as owner:
            sent = await owner.post(
                "/submit", content=wav(bytes(32_000), rate_hz=16_000), params={"filename": f"{SECRET}.wav"}
            )
            assert str(sent.json()["id"]) == OWNED["job_id"]
        records = started.ledger.records
        render = TtsRender("default", "maeve", f"the word is {SECRET}", 13, 1.5, 0.01, None, "e", 0.7)
        assert await records.add_renders([render]) == [int(OWNED["render_id"])]
        turns = [ConversationTurn("user", f"the word is {SECRET}", NOON)]
        calls = [ToolCall(SECRET, {}, SECRET, NOON)]
        await records.add_conversation(Conversation("default", OWNED["session_id"], NOON), turns, calls)
        voice = Voice(OWNED["voice_id"], "default", SECRET, SECRET, 50, 4.0, "voices/a/1.wav", {}, "espeak-1")
        await started.ledger.voices.put(voice)
        await started.ledger.consents.put(VoiceConsent(OWNED["consent_id"], "default", SECRET, "en", "voices/a/2.wav", 2.0))
        await started.ledger.speakers.put(Speaker(OWNED["speaker_id"], "default", SECRET, "voices/a/3.wav", 2.0))
        webhook = Webhook(OWNED["webhook_id"], "default", f"https://{SECRET}.example/", ("voice.created",))
        await started.ledger.webhooks.put(webhook)
        await started.ledger.webhooks.publish(Happened("default", "evt_1", "webhook.test", {}), webhook.id)
        (delivery,) = await started.ledger.webhooks.deliveries("default", webhook.id, 2)
        OWNED["delivery_id"] = delivery.id
        yield started


def routes(gateway: Running) -> list[tuple[str, str]]:
    rules = AccessRules.of(gateway.services.settings)
    found = []
    for path, methods in gateway.app.openapi()["paths"].items():
        rule = rules.find(path)
        if not path.startswith("/operator"):
            found += [(method.upper(), path) for method in methods if not rules.is_open(method.upper(), path, rule)]
    assert len(found) > 15
    return found


async def answer(client: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]) -> httpx.Response:
    filled = re.sub(r"{(\w+)}", lambda match: ids.get(match[1], ids["name"]), path)
    bodies: dict[str, Any] = {
        "/vui/v1/voices/delete": {"voice_id": ids["voice_id"]},
        "/vui/v1/tts": {"voice": ids["voice_id"], "input": "hello"},
        "/v1/audio/voice_consents/{consent_id}": {"name": "another name"},
        "/transcriptions/{job_id}/corrections": {"revision": 0},
    }
    body = {"json": bodies[path]} if method in ("POST", "PATCH") and path in bodies else {}
    params = {"q": SECRET} if "search" in path else {}
    return await client.request(method, filled, params=params, **body)


async def test_every_route_answers_for_another_s_as_for_nothing(gateway: Running) -> None:
    with_ids = 0
    named = {name for _, path in routes(gateway) for name in re.findall(r"{(\w+)}", path)}
    assert named - SHARED_NAMES == OWNED.keys()
    async with gateway.client(OTHER_KEY) as stranger:
        for method, path in routes(gateway):
            other, absent = [await answer(stranger, method, path, ids) for ids in (OWNED, ABSENT)]
            assert other.status_code == absent.status_code, (method, path)
            assert SECRET not in other.text.replace(f'"query":"{SECRET}"', ""), (method, path)
            if "{" in path or path.endswith(("/voices/delete", "/v1/tts")):
                with_ids += 1
                assert other.status_code == 404, (method, path, other.text)
                assert told(other, OWNED) == told(absent, ABSENT), (method, path)
    assert with_ids >= 25
    # And all of it is there for its owner.
    async with gateway.client(USER_KEY) as owner:
        for path in (
            "/transcriptions",
            f"/history/search?q={SECRET}",
            "/history/conversations/sess_ada",
            "/vui/v1/voices/mine",
            "/v1/audio/voice_consents",
            "/v1/speakers",
            "/v1/webhooks",
        ):
            assert SECRET in (await owner.get(path)).text, path


def told(response: httpx.Response, ids: dict[str, str]) -> str:
    """What an answer says, without the id that was asked for and the request's."""
    error = response.json()["error"]
    for name in sorted(ids.values(), key=len, reverse=True):
        error["message"] = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "ID", error["message"])
    return str(error)


async def test_no_result_is_taken_from_another_account_s(gateway: Running) -> None:
    claim = await gateway.ledger.jobs.claim("w", 5)
    assert claim is not None
    done = replace(outcome(claim.job), engine_revision=gateway.services.engine_revision)
    await gateway.ledger.jobs.complete(claim.job.id, claim.lease, done, transcript())
    sound = wav(bytes(32_000), rate_hz=16_000)
    async with gateway.client(USER_KEY) as owner, gateway.client(OTHER_KEY) as stranger:
        mine, theirs = [(await client.post("/submit", content=sound)).json() for client in (owner, stranger)]
    assert (mine["cached"], theirs["cached"]) == (True, False)
    assert mine["original_audio_url"].partition("?")[0] != theirs["original_audio_url"].partition("?")[0]


async def test_a_signed_link_opens_one_object_for_its_time(gateway: Running) -> None:
    async with gateway.client(USER_KEY) as owner, gateway.client(None) as stranger:
        url = httpx.URL((await owner.get("/transcriptions")).json()["transcriptions"][0]["original_audio_url"])
        assert (await stranger.get(url.raw_path.decode())).status_code == 200
        for changed in (
            url.copy_set_param("expires", "99999999999"),
            url.copy_set_param("signature", "0" * 64),
            url.copy_set_param("filename", "other.wav"),
            url.copy_remove_param("signature"),
            url.copy_with(path=url.path[:-1] + ("0" if url.path[-1] != "0" else "1")),
        ):
            assert (await stranger.get(changed.raw_path.decode())).status_code in (403, 404, 422), changed
