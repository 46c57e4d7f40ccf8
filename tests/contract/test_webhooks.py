"""Webhooks as their receivers see them: signed, at least once, in the face of failures, and to nobody's private network."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import standardwebhooks
from starlette.responses import Response, StreamingResponse

from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.webhooks import outbox
from lakehouse.storage.signed_urls import home_secret
from schemas.archives import ArchiveStatus, NewArchive
from schemas.domain import Job, Outcome
from schemas.records import Conversation, Voice
from schemas.settings import Settings, WebhookSettings
from schemas.webhooks import Happened, Webhook
from serve.services.webhook_secrets import WebhookSecrets
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, quick_settings, running
from tests.contract.speaking import served, until
from tests.contract.webhook_receiver import Receiver, receiving
from tests.support.lakehouse_kit import new_job, outcome, transcript

pytestmark = pytest.mark.contract


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@asynccontextmanager
async def sending(home: Path, *, private: bool = True) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    settings = quick_settings(home)
    chosen = WebhookSettings(webhook_private_addresses=private, webhook_timeout_secs=2)
    async with (
        running(home, settings.model_copy(update={"webhooks": chosen})) as gateway,
        served(gateway) as address,
        httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as client,
    ):
        yield gateway, client


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of attempts, without the days between them."""
    monkeypatch.setattr(outbox, "RETRY_SECS", (0.02,) * len(outbox.RETRY_SECS))


async def ended(gateway: Running, content: str = "talk", *, fails: bool = False) -> Job:
    ledger = gateway.ledger
    await ledger.jobs.create(new_job(content, account="default"))
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    if fails:
        return await ledger.jobs.fail(claim.job.id, claim.lease, "no sound", False)
    found: Outcome = outcome(claim.job)
    return await ledger.jobs.complete(claim.job.id, claim.lease, found, transcript())


async def made(client: httpx.AsyncClient, url: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": url, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def deliveries(client: httpx.AsyncClient, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    return list((await client.get(f"/v1/webhooks/{webhook['id']}/deliveries")).json()["data"])


async def until_settled(client: httpx.AsyncClient, webhook: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            found = await deliveries(client, webhook)
            if len(found) >= count and all(one["status"] != "pending" for one in found):
                return found
            await asyncio.sleep(0.02)


async def test_an_event_is_signed_so_that_their_verifiers_accept_it(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url, events=["transcription.completed", "transcription.failed"])
        job = await ended(gateway)
        await ended(gateway, "bad", fails=True)
        settled = await until_settled(client, webhook, 2)
    assert sorted(event["type"] for event in receiver.events) == ["transcription.completed", "transcription.failed"]
    for headers, body in receiver.got:
        assert standardwebhooks.Webhook(webhook["secret"]).verify(body, headers)
        theirs = openai.OpenAI(api_key="x", webhook_secret=webhook["secret"])
        theirs.webhooks.verify_signature(body, headers)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            theirs.webhooks.verify_signature(body + b" ", headers)
    first = next(event for event in receiver.events if event["type"] == "transcription.completed")
    assert first["data"] == {"id": job.id, "object": "transcription", "status": "completed", "cached": False}
    assert all(one["status"] == "delivered" and one["response_status"] == 204 for one in settled)


async def test_runs_voices_and_conversations_have_their_events(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        ledger = gateway.ledger
        run = await ledger.archives.open(NewArchive("default", "summer", "/recordings"), "engines-1")
        await ledger.archives.end(run.id, ArchiveStatus.COMPLETED, None)
        await ledger.voices.put(Voice("u-1", "default", "Ada", "hello", 50, 4.0, "voices/default/1.wav", {}, "espeak-1"))
        await ledger.voices.delete("default", "u-1")
        await ledger.records.add_conversation(Conversation("default", "s1", dt.datetime.now(dt.UTC), duration_secs=2.0), [])
        await until_settled(client, webhook, 4)
        # The same run, opened and completed again, is another event.
        await ledger.archives.open(NewArchive("default", "summer", "/recordings"), "engines-1")
        for _ in range(2):
            await ledger.archives.end(run.id, ArchiveStatus.COMPLETED, None)
        await until_settled(client, webhook, 5)
    assert [event["type"] for event in receiver.events].count("archive.completed") == 2
    told = {event["type"]: event["data"]["id"] for event in receiver.events}
    assert told == {"archive.completed": run.id, "voice.created": "u-1", "voice.deleted": "u-1", "conversation.ended": "s1"}


@pytest.mark.usefixtures("at_once")
async def test_a_receiver_that_takes_too_long_is_asked_again(tmp_path: Path, receiver: Receiver) -> None:
    def slow_at_first(number: int, event: dict[str, Any]) -> Response:
        return StreamingResponse(never()) if number == 1 else Response(status_code=204)

    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    receiver.answer = slow_at_first
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        await ended(gateway)
        (settled,) = await until_settled(client, webhook)
    assert (settled["status"], settled["attempts"]) == ("delivered", 2)
    assert len(receiver.got) == 2


@pytest.mark.usefixtures("at_once")
async def test_what_fails_is_sent_again_under_the_same_id_until_it_is_taken(tmp_path: Path, receiver: Receiver) -> None:
    answers = [500, 302, 503, 200]
    receiver.answer = lambda number, event: Response(status_code=answers[number - 1], headers={"location": "/elsewhere"})
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        await ended(gateway)
        (settled,) = await until_settled(client, webhook)
    assert (settled["status"], settled["attempts"]) == ("delivered", 4)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


@pytest.mark.usefixtures("at_once")
async def test_a_receiver_that_never_takes_it_fails_it_and_a_replay_begins_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda number, event: Response(status_code=500)
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        await ended(gateway)
        (failed,) = await until_settled(client, webhook)
        assert (failed["status"], failed["attempts"], failed["response_status"]) == ("failed", 14, 500)
        receiver.answer = lambda number, event: Response(status_code=200)
        again = await client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{failed['id']}/replay")
        assert (again.status_code, again.json()["status"]) == (200, "pending")
        (replayed,) = await until_settled(client, webhook)
        unknown = await client.post(f"/v1/webhooks/{webhook['id']}/deliveries/whd_none/replay")
    assert (replayed["status"], replayed["attempts"]) == ("delivered", 1)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert unknown.status_code == 404


async def test_gone_disables_and_a_rotation_enables_and_signs_twice(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda number, event: Response(status_code=410 if number == 1 else 200)
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        await ended(gateway)
        (failed,) = await until_settled(client, webhook)
        assert (failed["status"], failed["attempts"]) == ("failed", 1)
        shown = (await client.get(f"/v1/webhooks/{webhook['id']}")).json()
        assert "410" in shown["disabled_reason"]
        assert "secret" not in shown
        refused = await client.post(f"/v1/webhooks/{webhook['id']}/deliveries/{failed['id']}/replay")
        assert refused.json()["error"]["code"] == "webhook_disabled"
        await ended(gateway, "unheard")
        rotated = (await client.post(f"/v1/webhooks/{webhook['id']}/rotate_secret")).json()
        assert rotated["secret"] != webhook["secret"]
        await client.post(f"/v1/webhooks/{webhook['id']}/test")
        await until_settled(client, webhook, 2)
        headers, body = receiver.got[-1]
        assert json.loads(body)["type"] == "webhook.test"
        for secret in (webhook["secret"], rotated["secret"]):
            assert standardwebhooks.Webhook(secret).verify(body, headers)
        at_once = {"keep_old_secret_active_for_24_hours": False}
        await client.post(f"/v1/webhooks/{webhook['id']}/rotate_secret", json=at_once)
        await client.post(f"/v1/webhooks/{webhook['id']}/test")
        await until_settled(client, webhook, 3)
        headers, body = receiver.got[-1]
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(rotated["secret"]).verify(body, headers)


async def test_a_callback_gets_the_events_of_its_own_job_only(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as (gateway, client):
        params = {"callback_url": receiver.url}
        sent = (await client.post("/submit", content=b"RIFF\0\0\0\0WAVEfmt " + bytes(200), params=params)).json()
        claim = await gateway.ledger.jobs.claim("w", 5)
        assert claim is not None
        await ended(gateway, "another")
        await gateway.ledger.jobs.fail(claim.job.id, claim.lease, "no sound", False)
        await until(lambda: receiver.got)
        assert (await client.get("/v1/webhooks")).json()["data"] == []
        plain = (await client.post("/submit", content=b"RIFF\0\0\0\0WAVEfmt " + bytes(100))).json()
    (event,) = receiver.events
    assert (event["type"], event["data"]["id"]) == ("transcription.failed", sent["id"])
    headers, body = receiver.got[0]
    assert standardwebhooks.Webhook(sent["callback_secret"]).verify(body, headers)
    assert "callback_secret" not in plain


async def test_a_callback_goes_with_its_job_also_when_there_is_no_result(tmp_path: Path, receiver: Receiver) -> None:
    params, sound = {"callback_url": receiver.url}, b"RIFF\0\0\0\0WAVEfmt " + bytes(200)
    async with sending(tmp_path) as (gateway, client):
        held = gateway.ledger.webhooks._endpoints._items
        assert (await client.post("/submit", content=b"no recording at all", params=params)).status_code == 400
        assert held.all() == []
        for method, path in (("POST", "/cancel"), ("DELETE", "")):
            sent = (await client.post("/submit", content=sound, params=params)).json()
            assert len(held.all()) == 1
            assert (await client.request(method, f"/transcriptions/{sent['id']}{path}")).status_code == 200
            await until(lambda: not held.all())


async def test_webhooks_are_their_accounts_alone(tmp_path: Path, receiver: Receiver) -> None:
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        stranger = {"Authorization": OTHER_KEY}
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/rotate_secret"),
            ("POST", "/test"),
            ("GET", "/deliveries"),
        ):
            answer = await client.request(method, f"/v1/webhooks/{webhook['id']}{path}", headers=stranger)
            assert answer.status_code == 404, (method, path)
        await gateway.ledger.jobs.create(new_job("theirs", account="other"))
        claim = await gateway.ledger.jobs.claim("w", 5)
        assert claim is not None
        await gateway.ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())
        session = Conversation("default", "s1", claim.job.created_at, duration_secs=2.0)
        await gateway.ledger.records.add_conversation(session, [])
        (told,) = await until_settled(client, webhook)
        assert (await client.delete(f"/v1/webhooks/{webhook['id']}")).json()["deleted"] is True
        assert (await client.get(f"/v1/webhooks/{webhook['id']}")).status_code == 404
    assert told["event"]["data"] == {"id": "s1", "object": "conversation", "duration_secs": 2.0}
    assert [event["type"] for event in receiver.events] == ["conversation.ended"]


async def test_deliveries_outlive_the_ledger_and_none_is_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Settings = quick_settings(tmp_path)
    ledger = await Ledger.open(settings)
    await ledger.webhooks.put(Webhook("wh_1", "ada", "http://example.org", ("transcription.completed",)))

    async def fails() -> None:
        raise OSError("no space left on device")

    async def done(content: str) -> None:
        await ledger.jobs.create(new_job(content))
        claim = await ledger.jobs.claim("w", 5)
        assert claim is not None
        await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())

    await done("one")
    (first,) = await ledger.webhooks.due(10, 5)
    monkeypatch.setattr(ledger.webhooks, "flushed", fails)
    monkeypatch.setattr(ledger._projector, "_before", fails)
    await done("two")
    await ledger.close()
    ledger = await Ledger.open(settings)
    try:
        event = Happened("ada", first.delivery.event_id, "transcription.completed", {})
        await ledger.webhooks.publish(event)  # the same event again
        found = [*(await ledger.webhooks.due(10, 5)), *(await ledger.webhooks.due(10, 0.2))]
        assert {one.delivery.event_id for one in found} == {"evt_t1_0", "evt_t2_0"}
        assert len(found) == 2
    finally:
        await ledger.close()


@pytest.mark.usefixtures("at_once")
async def test_every_event_arrives_once_at_a_receiver_that_fails_a_third(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda number, event: Response(status_code=500 if number % 3 == 0 else 200)
    count = 300
    async with sending(tmp_path) as (gateway, client):
        webhook = await made(client, receiver.url)
        events = [Happened("default", f"evt_{n}", "voice.created", {"id": n}) for n in range(count)]
        await asyncio.gather(*(gateway.ledger.webhooks.publish(event) for event in events))
        async with asyncio.timeout(240):
            while len(gateway.ledger.webhooks._queue):  # noqa: ASYNC110 - nobody is told of the last
                await asyncio.sleep(0.02)
        found = (await client.get(f"/v1/webhooks/{webhook['id']}/deliveries", params={"limit": 1000})).json()["data"]
    assert Counter(one["status"] for one in found) == {"delivered": count}
    taken = Counter(event["id"] for number, event in enumerate(receiver.events, start=1) if number % 3)
    assert len(taken) == count
    assert max(taken.values()) == 1


def test_a_secret_is_the_homes_and_the_webhooks_own(tmp_path: Path) -> None:
    secrets = WebhookSecrets(home_secret(tmp_path))
    one, other = (Webhook(name, "ada", "http://example.org", ()) for name in ("wh_1", "wh_2"))
    assert secrets.shown(one) == WebhookSecrets(home_secret(tmp_path)).shown(one)
    assert len({secrets.shown(one), secrets.shown(other), WebhookSecrets(bytes(32)).shown(one)}) == 3
