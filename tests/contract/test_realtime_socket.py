"""`/v1/realtime` over a real socket: keys, secrets, protocol versions, limits, cleanup; checks 1, 37, 39, 41."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from audio.wire_formats import converted
from runtime.foretold_end import foretell, wait_until_finished
from schemas.settings import RealtimeSettings
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, quick_settings, running
from tests.contract.speaking import SENTENCE, served, until
from tests.support.realtime_kit import ScriptedEngines, endless, server_events, written
from tests.support.realtime_socket import next_of, opened
from tests.support.speech import say

pytestmark = pytest.mark.contract

TEXT = {"output_modalities": ["text"]}
NO_TURNS: dict[str, Any] = {"audio": {"input": {"turn_detection": None}}}


async def ask(ws: ClientConnection, text: str, **response: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await ws.send(json.dumps({"type": "response.create", "response": response}))
    return await next_of(ws, "response.done", "error")


@pytest.mark.parametrize("key", [USER_KEY, f"Bearer {USER_KEY}"])
async def test_a_key_opens_a_session_and_the_first_word_is_the_servers(address: str, key: str) -> None:
    for path in ("/v1/realtime?model=a%2Fb", "/realtime"):
        async with opened(address, key, path) as ws:
            event = json.loads(await asyncio.wait_for(ws.recv(), 60))
            server_events().validate_python(event)
            assert event["type"] == "session.created"
            await asyncio.wait_for(await ws.ping(), 60)
            assert event["session"]["model"] == ("a/b" if "model" in path else "fluxions-realtime")


@pytest.mark.parametrize("key", [None, "fx_wrong", "ek_wrong"])
async def test_no_key_or_a_wrong_one_is_refused_in_the_handshake(address: str, key: str | None) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, key):
            pass
    assert refused.value.response.status_code == 401
    error = json.loads(refused.value.response.body)["error"]
    assert error["code"] in ("missing_api_key", "invalid_api_key")


async def test_a_session_that_cannot_be_is_refused_by_its_field(address: str) -> None:
    name = "x" * 5000
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, USER_KEY, f"/v1/realtime?model={name}"):
            pass
    error = json.loads(refused.value.response.body)["error"]
    assert (refused.value.response.status_code, error["param"]) == (400, "model")
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as http:
        secret = await http.post("/v1/realtime/client_secrets", json={"session": {"type": "realtime", "model": name}})
        assert (secret.status_code, secret.json()["error"]["param"]) == (400, "session.model")
        half_a_pair = r'{"session": {"type": "realtime", "prompt": {"id": "\ud800"}}}'
        headers = {"Content-Type": "application/json"}
        secret = await http.post("/v1/realtime/client_secrets", content=half_a_pair, headers=headers)
        assert (secret.status_code, secret.json()["error"]["param"]) == (400, "session")


async def test_a_browser_brings_its_key_in_a_subprotocol(address: str) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{USER_KEY}", "openai-agents-sdk.0.1"]
    async with opened(address, None, subprotocols=offered) as ws:
        assert ws.subprotocol == "realtime"
        assert (await next_of(ws, "session.created"))["session"]["type"] == "realtime"


async def test_a_secret_opens_the_session_it_was_made_for(gateway: Running, address: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as http:
        session = {"type": "realtime", "model": "mine", "instructions": "Sing.", "audio": {"output": {"voice": "harry"}}}
        made = (await http.post("/v1/realtime/client_secrets", json={"session": session})).json()
        assert made["value"].startswith("ek_")
        assert 500 < made["expires_at"] - time.time() <= 600
        assert made["session"]["instructions"] == "Sing."
        offered = ["realtime", f"openai-insecure-api-key.{made['value']}"]
        async with opened(address, None, subprotocols=offered) as ws:
            created = (await next_of(ws, "session.created"))["session"]
            assert (created["instructions"], created["model"]) == ("Sing.", "mine")
            assert created["audio"]["output"]["voice"] == "harry"
        # It opens sessions and nothing else.
        refused = await http.get("/transcriptions", headers={"Authorization": made["value"]})
        assert refused.status_code == 401
        wrong = await http.post("/v1/realtime/client_secrets", json={"session": {"audio": {"output": {"voice": "x"}}}})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "session.audio.output.voice")
        short = {"expires_after": {"anchor": "created_at", "seconds": 5}}
        assert (await http.post("/v1/realtime/client_secrets", json=short)).status_code == 422
        old = (await http.post("/v1/realtime/sessions", json={"voice": "harry", "modalities": ["text", "audio"]})).json()
        assert old["client_secret"]["value"].startswith("ek_")
        assert (old["voice"], old["input_audio_format"]) == ("harry", "pcm16")
    keys = [key async for key, _ in gateway.services.objects.list("realtime-secrets")]
    assert len(keys) == 2
    assert not any(made["value"] in key for key in keys)


async def test_a_secret_that_has_expired_opens_nothing(gateway: Running, address: str) -> None:
    value, _ = await gateway.services.client_secrets.create("default", {"type": "realtime"}, -1)
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, value):
            pass
    assert json.loads(refused.value.response.body)["error"]["code"] == "expired_api_key"


async def test_a_client_of_the_old_protocol_is_answered_in_it(address: str, scripted: ScriptedEngines) -> None:
    scripted.answers = [written("Good ", "day.")]
    headers = {"Authorization": USER_KEY, "OpenAI-Beta": "realtime=v1"}
    async with connect(f"ws://{address}/v1/realtime?model=x", additional_headers=headers) as ws:
        created = await next_of(ws, "session.created")
        assert created["session"]["input_audio_format"] == "pcm16"
        flat = {"modalities": ["text"], "voice": "harry", "turn_detection": None, "input_audio_format": "g711_ulaw"}
        await ws.send(json.dumps({"type": "session.update", "session": flat}))
        session = (await next_of(ws, "session.updated"))["session"]
        assert (session["modalities"], session["voice"], session["turn_detection"]) == (["text"], "harry", None)
        assert session["input_audio_format"] == "g711_ulaw"
        kinds: list[str] = []
        content = [{"type": "input_text", "text": "Hello"}]
        item = {"type": "message", "role": "user", "content": content}
        await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await ws.send(json.dumps({"type": "response.create"}))
        async with asyncio.timeout(60):
            while not kinds or kinds[-1] != "response.done":
                event = json.loads(await ws.recv())
                kinds.append(event["type"])
        assert kinds == [
            "conversation.item.created",
            "response.created",
            "response.output_item.added",
            "conversation.item.created",
            "response.content_part.added",
            "response.text.delta",
            "response.text.delta",
            "response.text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        assert event["response"]["modalities"] == ["text"]
        assert event["response"]["output"][0]["content"] == [{"type": "text", "text": "Good day."}]


async def test_flat_fields_without_a_type_are_understood_as_the_old_protocol(address: str) -> None:
    async with opened(address) as ws:
        await ws.send(json.dumps({"type": "session.update", "session": {"modalities": ["text", "audio"]}}))
        assert (await next_of(ws, "session.updated"))["session"]["modalities"] == ["text", "audio"]


async def test_speech_is_recognised_and_answered_with_speech(address: str, scripted: ScriptedEngines) -> None:
    scripted.answers = [written("He did. ", "It was a fine day.")] * 3
    async with opened(address) as ws:
        audio = {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1", "language": "en"}}}
        await ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "audio": audio}}))
        await next_of(ws, "session.updated")
        sound = np.concatenate((np.zeros(8000, np.float32), say(SENTENCE), np.zeros(16_000, np.float32)))
        coded = converted(sound, 16_000, "audio/pcmu")
        for at in range(0, len(coded), 1600):
            append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(coded[at : at + 1600]).decode()}
            await ws.send(json.dumps(append))
        heard, pcm, transcript = "", b"", ""
        async with asyncio.timeout(60):
            while True:
                event = json.loads(await ws.recv())
                server_events().validate_python(event)
                if event["type"] == "conversation.item.input_audio_transcription.completed":
                    heard = event["transcript"]
                elif event["type"] == "response.output_audio.delta":
                    pcm += base64.b64decode(event["delta"])
                elif event["type"] == "response.output_audio_transcript.delta":
                    transcript += event["delta"]
                elif event["type"] == "response.done":
                    break
        assert event["response"]["status"] == "completed"
        assert "river" in heard.lower()
        assert transcript == "He did. It was a fine day."
        samples = np.frombuffer(pcm, "<i2")
        assert 1.0 < len(samples) / 24_000 < 5.0
        assert np.abs(samples).max() > 2000


async def test_one_who_leaves_stops_the_model(gateway: Running, address: str, scripted: ScriptedEngines) -> None:
    answer, stopped = endless()
    scripted.answers = [answer]
    ws = await opened(address)
    await ws.send(json.dumps({"type": "response.create", "response": TEXT}))
    await next_of(ws, "response.output_text.delta")
    assert gateway.services.realtime.open_sessions == 1
    ws.transport.abort()
    async with asyncio.timeout(60):
        await stopped.wait()
    await until(lambda: gateway.services.realtime.open_sessions == 0)


async def test_one_who_never_reads_is_let_go_and_others_go_on(
    gateway: Running, address: str, scripted: ScriptedEngines
) -> None:
    async def flood(_: Any) -> Any:
        from schemas.language_model import ChatDelta

        while True:
            yield ChatDelta("word " * 20_000)
            await asyncio.sleep(0)

    scripted.answers = [flood, written("Still here.")]
    slow = await opened(address, max_queue=1, compression=None)
    await slow.send(json.dumps({"type": "response.create", "response": TEXT}))
    await until(lambda: len(scripted.asked) == 1)
    async with opened(address) as ws:
        done = await ask(ws, "Hello", **TEXT)
        assert done["response"]["output"][0]["content"][0]["text"] == "Still here."
        await until(lambda: gateway.services.realtime.open_sessions == 1, 30)
    slow.transport.abort()
    await slow.wait_closed()


async def test_sessions_are_counted_limited_in_time_and_notified_of_a_shutdown(tmp_path: Any) -> None:
    quick = quick_settings(tmp_path / "home")
    settings = quick.model_copy(update={"realtime": RealtimeSettings(realtime_sessions=1, realtime_session_secs=2.0)})
    async with running(tmp_path / "home", settings) as gateway, served(gateway) as address:
        async with opened(address) as ws:
            await next_of(ws, "session.created")
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with opened(address, OTHER_KEY):
                    pass
            assert refused.value.response.status_code == 503
            assert json.loads(refused.value.response.body)["error"]["code"] == "too_many_sessions"
            expired = await next_of(ws, "error")
            assert expired["error"]["code"] == "session_expired"
            await asyncio.wait_for(ws.wait_closed(), 60)
            assert ws.close_code == 1001
        await until(lambda: gateway.services.realtime.open_sessions == 0)
        async with opened(address) as ws:
            await next_of(ws, "session.created")
            leaving = asyncio.create_task(gateway.services.realtime.drain(5))
            assert (await next_of(ws, "error"))["error"]["code"] == "server_going_away"
            await asyncio.wait_for(ws.wait_closed(), 10)
            assert ws.close_code == 1001
            await asyncio.wait_for(leaving, 10)


async def test_sessions_end_with_notice_before_their_server_is_stopped(tmp_path: Any) -> None:
    """As the supervisor stops: it tells, waits for the sessions, and then ends the gateway."""
    home = tmp_path / "home"
    async with running(home) as gateway, served(gateway) as address, opened(address) as ws:
        session_id = (await next_of(ws, "session.created"))["session"]["id"]
        assert not await asyncio.to_thread(wait_until_finished, home, 0.0)
        foretell(home)
        assert (await next_of(ws, "error"))["error"]["code"] == "server_going_away"
        await asyncio.wait_for(ws.wait_closed(), 60)
        assert ws.close_code == 1001
        assert await asyncio.to_thread(wait_until_finished, home, 60)
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with opened(address):
                pass
        assert json.loads(refused.value.response.body)["error"]["code"] == "server_going_away"
        async with gateway.client() as http:
            assert (await http.get(f"/history/conversations/{session_id}")).json()["ended_at"] is not None


async def test_a_conversation_is_in_the_history_and_goes_on_in_another_session(
    gateway: Running, address: str, scripted: ScriptedEngines
) -> None:
    scripted.answers = [written("Good morning."), written("I said good morning.")]
    async with opened(address) as ws:
        session_id = (await next_of(ws, "session.created"))["session"]["id"]
        await ask(ws, "Hello", **TEXT)
    await until(lambda: gateway.services.realtime.open_sessions == 0)
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as http:
        body = (await http.get(f"/history/conversations/{session_id}")).json()
    assert body["ended_at"] is not None
    turns = [(turn["role"], turn["text"]) for turn in body["turns"]]
    assert turns == [("user", "Hello"), ("assistant", "Good morning.")]
    async with opened(address, path=f"/v1/realtime?model=x&conversation_id={session_id}") as ws:
        await next_of(ws, "session.created")
        await ask(ws, "What did you say?", **TEXT)
    said = [(message.role, message.content) for message in scripted.asked[-1].messages if message.role != "system"]
    assert said == [("user", "Hello"), ("assistant", "Good morning."), ("user", "What did you say?")]
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, OTHER_KEY, f"/v1/realtime?conversation_id={session_id}"):
            pass
    assert refused.value.response.status_code == 404


async def test_thirty_sockets_that_say_different_words_never_mix(address: str, scripted: ScriptedEngines) -> None:
    async def echo(request: Any) -> Any:
        from schemas.language_model import ChatDelta

        await asyncio.sleep(0)
        yield ChatDelta(f"You said {request.messages[-1].content}. ")
        yield ChatDelta(finish="stop")

    scripted.otherwise = echo

    async def one(word: str) -> list[str]:
        async with opened(address) as ws:
            said = []
            for turn in range(3):
                done = await ask(ws, f"{word}-{turn}", **TEXT)
                said.append(done["response"]["output"][0]["content"][0]["text"])
            return said

    words = [f"word{number}" for number in range(30)]
    found = await asyncio.gather(*(one(word) for word in words))
    assert found == [[f"You said {word}-{turn}. " for turn in range(3)] for word in words]


async def test_an_append_beyond_15_mib_is_refused_and_one_below_is_heard(address: str) -> None:
    async with opened(address) as ws:
        await next_of(ws, "session.created")
        await ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **NO_TURNS}}))
        await next_of(ws, "session.updated")
        large = {"type": "input_audio_buffer.append", "audio": "A" * (15 * 1024 * 1024 + 4), "event_id": "large"}
        await ws.send(json.dumps(large))
        error = (await next_of(ws, "error"))["error"]
        assert (error["param"], error["event_id"]) == ("audio", "large")
        await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * (1024 * 1024)}))
        await ws.send(json.dumps({"type": "input_audio_buffer.commit"}))
        await next_of(ws, "input_audio_buffer.committed")
