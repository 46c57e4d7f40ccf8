"""What one account may have: numbers of items, and a share of the slots for uploads, forms and downloads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.webhooks.due_queue import ACCOUNT_AT_ONCE, DueQueue
from schemas.errors import Conflict, RateLimited, Unavailable
from schemas.records import Speaker, Voice, VoiceConsent
from schemas.settings import (
    EngineSettings,
    LimitSettings,
    LiveSettings,
    RealtimeSettings,
    ServerSettings,
    Settings,
    StorageSettings,
)
from schemas.webhooks import Delivery, Webhook
from serve.account_slots import AccountSlots
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, running
from tests.contract.speaking import served
from tests.integration.test_decode import wav
from tests.security.test_submit_url import _Files, web
from tests.support.lakehouse_kit import ManualClock

pytestmark = pytest.mark.security

__all__ = ["web"]

LONG_SECS = 60.0
SOUND = wav(bytes(96_000), rate_hz=24_000)
WEBHOOK = {"url": "https://example.org/hook", "events": ["voice.created"]}
ITEMS: dict[str, Callable[[str], Any]] = {
    "voices": lambda name: Voice(name, "ada", "mine", "words", 50, 4.0, f"voices/ada/{name}.wav", {}, "espeak-1"),
    "consents": lambda name: VoiceConsent(name, "ada", "Ada", "en", f"voices/ada/{name}.wav", 2.0),
    "speakers": lambda name: Speaker(name, "ada", name, f"voices/ada/{name}.wav", 2.0),
    "webhooks": lambda name: Webhook(name, "ada", "https://example.org", ("voice.created",)),
}


def settings_of(home: Path, **limits: Any) -> Settings:
    return Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        engines=EngineSettings(tts_engine="espeak"),
        limits=LimitSettings(**limits),
    )


@pytest.mark.parametrize("kind", ITEMS)
async def test_requests_at_once_do_not_pass_the_number_of_items(tmp_path: Path, kind: str) -> None:
    ledger = await Ledger.open(settings_of(tmp_path, **{f"{kind}_per_account": 2}))
    items = getattr(ledger, kind)
    try:
        made = await asyncio.gather(*(items.put(ITEMS[kind](f"n-{n}")) for n in range(5)), return_exceptions=True)
        refused = [one for one in made if isinstance(one, Conflict)]
        assert len(refused) == 3
        assert refused[0].code == f"too_many_{kind}"
        assert f"FLUXIONS_{kind.upper()}_PER_ACCOUNT allows 2" in refused[0].message
        kept = await items.of_account("ada")
        assert len(kept) == 2
        await items.put(kept[0])  # what is there may be changed
        await items.put(replace(ITEMS[kind]("other"), account="eve"))
        await items.delete("ada", kept[0].id)
        await items.put(ITEMS[kind]("next"))
        with pytest.raises(Conflict):
            await items.check_room("ada")
    finally:
        await ledger.close()


async def test_speakers_added_at_once_do_not_get_one_name(tmp_path: Path) -> None:
    ledger = await Ledger.open(settings_of(tmp_path))
    try:
        same = [replace(ITEMS["speakers"](f"n-{n}"), name="Ada") for n in range(3)]
        made = await asyncio.gather(*map(ledger.speakers.put, same), return_exceptions=True)
        assert [one.code for one in made if isinstance(one, Conflict)] == ["speaker_exists"] * 2
    finally:
        await ledger.close()


async def test_callbacks_of_jobs_are_no_webhooks_of_the_account(tmp_path: Path) -> None:
    ledger = await Ledger.open(settings_of(tmp_path, webhooks_per_account=1))
    try:
        for n in range(3):
            await ledger.webhooks.put(replace(ITEMS["webhooks"](f"n-{n}"), submission=f"s-{n}"))
        await ledger.webhooks.put(ITEMS["webhooks"]("w"))
    finally:
        await ledger.close()


async def test_what_is_too_many_is_refused_and_leaves_no_recording(tmp_path: Path) -> None:
    limits = dict.fromkeys((f"{kind}_per_account" for kind in ITEMS), 1)
    async with running(tmp_path, settings_of(tmp_path, **limits)) as gateway, gateway.client() as client:
        files = {"recording": ("a.wav", SOUND)}
        fields = {"name": "Ada", "language": "en"}
        consents = [client.post("/v1/audio/voice_consents", data=fields, files=files) for _ in range(4)]
        answers = await asyncio.gather(*consents)
        check_items(answers, "consents")
        check_items(await asyncio.gather(*(client.post("/v1/webhooks", json=WEBHOOK) for _ in range(4))), "webhooks")
        await gateway.ledger.voices.put(replace(ITEMS["voices"]("v"), account="default"))
        await gateway.ledger.speakers.put(replace(ITEMS["speakers"]("s"), account="default"))
        sent = {"audio": ("a.wav", SOUND)}
        voice, speaker = (
            await client.post("/vui/v1/voices", files=sent),
            await client.post("/v1/speakers", data={"name": "Eve"}, files=sent),
        )
        for answer, kind in ((voice, "voices"), (speaker, "speakers")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, f"too_many_{kind}")
        stored = [key async for key, _ in gateway.services.objects.list("voices")]
        assert len(stored) == 1


def check_items(answers: list[httpx.Response], kind: str) -> None:
    """One was made; the others were refused by a message that names the limit."""
    refused = [one for one in answers if one.status_code == 409]
    assert [one.status_code for one in answers if one not in refused] == [200]
    for one in refused:
        error = one.json()["error"]
        assert error["code"] == f"too_many_{kind}"
        assert f"FLUXIONS_{kind.upper()}_PER_ACCOUNT" in error["message"]


def test_as_many_slots_stay_free_as_one_account_has() -> None:
    slots = AccountSlots(12, "uploads")
    for _ in range(2):
        with ExitStack() as held:
            take = [held.enter_context(slots.slot("ada")) for _ in range(6)]
            assert len(take) == 6
            with pytest.raises(RateLimited, match="6 uploads") as refused, slots.slot("ada"):
                pass
            assert refused.value.headers["RateLimit-Limit"] == "6"
            for _ in range(3):
                held.enter_context(slots.slot("bob"))
            with pytest.raises(RateLimited), slots.slot("bob"):
                pass
            for name in "cdf":
                held.enter_context(slots.slot(name))
            with pytest.raises(Unavailable), slots.slot("eve"):
                pass


@asynccontextmanager
async def two_accounts(home: Path, **limits: Any) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, Running]]:
    async with (
        running(home, settings_of(home, uploads_at_once=4, **limits)) as gateway,
        gateway.client() as greedy,
        gateway.client(OTHER_KEY) as other,
    ):
        yield greedy, other, gateway


def multipart(sound: bytes) -> tuple[bytes, bytes]:
    """A form with a file, in two parts."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    field = b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    return head + sound[:1000], sound[1000:] + field


@pytest.mark.parametrize("path", ["/submit", "/v1/audio/transcriptions"])
async def test_slow_clients_of_one_account_leave_slots_to_others(tmp_path: Path, path: str) -> None:
    sound = wav(bytes(32_000), rate_hz=16_000)
    is_form = path != "/submit"
    parts = multipart(sound) if is_form else (sound[:1000], sound[1000:])
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if is_form else {}
    go_on = asyncio.Event()

    async def slow(begun: asyncio.Event) -> AsyncIterator[bytes]:
        yield parts[0]
        begun.set()
        await go_on.wait()
        yield parts[1]

    async with two_accounts(tmp_path) as (greedy, other, _):

        async def begun(client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
            reading = asyncio.Event()
            sending = asyncio.create_task(client.post(path, content=slow(reading), headers=headers))
            await asyncio.wait_for(reading.wait(), LONG_SECS)
            return sending

        held = [await begun(greedy) for _ in range(2)]
        refused = await asyncio.wait_for(greedy.post(path, content=b"".join(parts), headers=headers), LONG_SECS)
        assert refused.status_code == 429
        assert "2 " in refused.json()["error"]["message"]
        held.append(await begun(other))
        go_on.set()
        if not is_form:
            assert [one.status_code for one in await asyncio.gather(*held)] == [200] * 3
            return
        # Forms are answered when their jobs are done, and keep no slot until then.
        async with asyncio.timeout(LONG_SECS):
            while (await greedy.get("/transcriptions")).json()["total"] < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for job in (await greedy.get("/transcriptions")).json()["transcriptions"]:
            await greedy.post(f"/transcriptions/{job['id']}/cancel")
        again = [await begun(greedy) for _ in range(2)]
        for one in (*held, *again):
            one.cancel()


async def test_slow_servers_of_one_account_leave_downloads_to_others(tmp_path: Path, web: str) -> None:
    async with two_accounts(tmp_path / "home", fetch_private=True) as (greedy, other, gateway):
        ask = partial(httpx.AsyncClient.post, url="/submit", json={"url": f"{web}/slow"})
        for _ in range(2):
            assert (await ask(greedy)).status_code == 200
        refused = await ask(greedy)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert "downloads" in refused.json()["error"]["message"]
        assert (await ask(other)).status_code == 200
        _Files.go_on.set()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(LONG_SECS))
            while gateway.services.remote_submissions.under_way:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await ask(greedy)).status_code == 200


async def test_sound_in_other_formats_is_not_made_for_one_account_alone(tmp_path: Path) -> None:
    async with two_accounts(tmp_path) as (greedy, other, gateway):

        async def rendered(client: httpx.AsyncClient) -> str:
            ask = {"voice": "maeve", "input": "Good morning.", "verify_chunks": False}
            assert (await client.post("/vui/v1/tts", json=ask)).status_code == 200
            await gateway.services.speech.drain(LONG_SECS)
            return f"/history/tts/{(await client.get('/history/tts')).json()['data'][0]['id']}/audio"

        theirs, path = await rendered(other), await rendered(greedy)
        row = await gateway.services.history.get("tts_renders", "default", int(path.split("/")[3]))
        assert row is not None
        held = [await gateway.services.render_files.open("default", row["audio_key"], "wav") for _ in range(8)]
        refused = await greedy.get(path, params={"format": "wav"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert (await greedy.get(path)).status_code == 200  # as it is stored
        assert (await other.get(theirs, params={"format": "wav"})).status_code == 200
        for one in held:
            await one.aclose()
        for method in ("GET", "HEAD") * 9:
            assert (await greedy.request(method, path, params={"format": "wav"})).status_code == 200


async def test_live_streams_are_taken_by_keys_and_not_all_by_one_account(tmp_path: Path) -> None:
    settings = settings_of(tmp_path).model_copy(update={"live": LiveSettings(live_streams=6)})
    async with running(tmp_path, settings) as gateway, served(gateway) as address, AsyncExitStack() as held:

        async def begun(key: str) -> str:
            socket = await held.enter_async_context(connect(f"ws://{address}/v1/listen"))
            await socket.send(json.dumps({"type": "start", "token": key, "sample_rate": 16_000}))
            said = json.loads(await asyncio.wait_for(socket.recv(), LONG_SECS))
            return str(said.get("code", said["type"]))

        for _ in range(7):  # without a key, and silent
            await held.enter_async_context(connect(f"ws://{address}/v1/listen"))
        assert [await begun(USER_KEY) for _ in range(6)] == ["started"] * 5 + ["rate_limited"]
        assert [await begun(OTHER_KEY) for _ in range(2)] == ["started", "rate_limited"]


async def test_conversations_are_not_all_of_one_account(tmp_path: Path) -> None:
    settings = settings_of(tmp_path).model_copy(update={"realtime": RealtimeSettings(realtime_sessions=6)})
    async with running(tmp_path, settings) as gateway:
        realtime = gateway.services.realtime
        async with AsyncExitStack() as held:
            for _ in range(5):
                await held.enter_async_context(realtime.room("ada"))
            with pytest.raises(RateLimited):
                await held.enter_async_context(realtime.room("ada"))
            await held.enter_async_context(realtime.room("eve"))
            with pytest.raises(Unavailable):
                await held.enter_async_context(realtime.room("bob"))


async def test_slow_receivers_of_one_account_leave_attempts_to_others() -> None:
    clock = ManualClock()
    queue, now = DueQueue(clock), clock.utc()

    def put(account: str, number: int) -> None:
        queue.put(Delivery(f"{account}-{number}", account, f"wh-{account}-{number}", "e", "voice.created", "{}", now, now))

    for number in range(40):  # each of another webhook, as callbacks of jobs are
        put("ada", number)
    put("eve", 0)
    first = queue.take(32)
    assert sum(one.account == "ada" for one in first) == ACCOUNT_AT_ONCE
    assert first[-1].account == "eve"
    for one in first[:3]:
        queue.remove(one.id)
    clock.advance(1)
    assert len(queue.take(32)) == 3


async def test_a_stored_answer_is_not_for_a_token_with_fewer_scopes(tmp_path: Path) -> None:
    async with running(tmp_path, settings_of(tmp_path)) as gateway, gateway.client() as owner:
        ask: dict[str, Any] = {"json": {"scopes": ["history"]}, "headers": {"Idempotency-Key": "1"}}
        made = (await owner.post("/v1/tokens", **ask)).json()
        assert (await owner.post("/v1/tokens", **ask)).json() == made
        weak = (await owner.post("/v1/tokens", json={"scopes": ["speak"]})).json()["token"]
        async with gateway.client(weak) as page:
            refused = await page.post("/v1/tokens", **ask)
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
        assert made["token"] not in refused.text
