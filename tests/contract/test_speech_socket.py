"""`/vui/v1/tts/ws`: the protocol, what it refuses without closing, cancellation, and that sockets never mix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import websockets

from tests.contract.gateway import OTHER_KEY, USER_KEY, Running
from tests.contract.speaking import MAEVE, SENTENCE, assert_is_speech, pcm_of, served, until

pytestmark = pytest.mark.contract

SPEAK: dict[str, Any] = {"type": "speak", "voice": MAEVE, "input": SENTENCE, "verify_chunks": False}


@pytest.fixture
async def url(gateway: Running) -> AsyncIterator[str]:
    async with served(gateway) as address:
        yield f"ws://{address}/vui/v1/tts/ws"


async def _heard(ws: websockets.ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """What comes up to `done` or `error`: messages, and sound."""
    messages: list[dict[str, Any]] = []
    pcm = bytearray()
    async for message in ws:
        if isinstance(message, bytes):
            assert messages, "sound before start"
            pcm += message
            continue
        messages.append(json.loads(message))
        if messages[-1]["type"] in ("done", "error"):
            break
    return messages, bytes(pcm)


async def test_renders_follow_one_another_and_done_has_the_verdict(url: str) -> None:
    async with websockets.connect(url) as ws:
        for verify in (True, False):
            await ws.send(json.dumps({**SPEAK, "verify_chunks": verify, "max_secs": 0, "temperature": 0.9}))
            (start, done), pcm = await _heard(ws)
            assert start == {"type": "start"}
            assert done["type"] == "done"
            assert done["verify"]["enabled"] is verify
            assert set(done["verify"]) == {"enabled", "chunks", "retries", "failed", "word_error_rate"}
            samples = np.frombuffer(pcm, "<i2")
            assert_is_speech(samples, 2, 6)
            assert done["audio_secs"] == pytest.approx(samples.size / 24_000, abs=1e-3)
        await ws.send(json.dumps({"type": "session.close"}))
        await asyncio.wait_for(ws.wait_closed(), 5)
        assert ws.close_code == 1000


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[1]", "invalid_json", None),
        (b"\x00\x01", "not_text", None),
        ('{"type": "dance"}', "invalid_parameter", "type"),
        ('{"voice": "maeve"}', "invalid_parameter", "type"),
        (json.dumps({**SPEAK, "input": ""}), "invalid_parameter", "input"),
        (json.dumps({**SPEAK, "input": "x" * 100_001}), "invalid_parameter", "input"),
        (json.dumps({**SPEAK, "voice": "nobody"}), "unknown_voice", "voice"),
        (json.dumps({**SPEAK, "temperature": 9}), "invalid_parameter", "temperature"),
        (json.dumps({**SPEAK, "input": "x" * 3_000_000}), "payload_too_large", None),
        (json.dumps({**SPEAK, "token": "Bearer fx_wrong"}), "invalid_api_key", None),
        (json.dumps({**SPEAK, "voice": "u-0123456789ab-01234567"}), "missing_api_key", None),
        (json.dumps({**SPEAK, "voice": "u-0123456789ab-01234567", "token": OTHER_KEY}), "unknown_voice", "voice"),
    ],
)
async def test_what_cannot_be_spoken_is_an_error_and_the_socket_stays_open(
    url: str, message: str | bytes, code: str, param: str | None
) -> None:
    async with websockets.connect(url) as ws:
        await ws.send(message)
        (error,), pcm = await _heard(ws)
        assert (error["type"], error["code"], error["param"]) == ("error", code, param)
        assert len(error["message"]) > 10
        assert not pcm
        await ws.send(json.dumps({**SPEAK, "input": "Hello there."}))
        assert (await _heard(ws))[0][-1]["type"] == "done"


async def test_the_key_counts_for_each_speak(gateway: Running, url: str) -> None:
    async with websockets.connect(url) as ws:
        for token in (f"Bearer {USER_KEY}", None, USER_KEY):
            await ws.send(json.dumps({**SPEAK, "input": "Hello there.", **({"token": token} if token else {})}))
            assert (await _heard(ws))[0][-1]["type"] == "done"
    await gateway.services.speech.drain(60)
    assert (await gateway.ledger.maintenance.stats()).tables["tts_renders"] >= 1
    keys = [key async for key, _ in gateway.services.objects.list("renders/default")]
    assert len(keys) == 2


async def test_a_render_says_when_and_where_the_history_has_it(gateway: Running, url: str) -> None:
    texts = ("Hello there.", "Good morning.")
    async with websockets.connect(url) as ws, gateway.client() as client:
        for text in texts:
            await ws.send(json.dumps({**SPEAK, "input": text, "stored": True, "token": USER_KEY}))
        for text in texts:
            (start, done), pcm = await _heard(ws)
            assert (start["type"], done["type"]) == ("start", "done")
            stored = json.loads(await ws.recv())
            assert stored["type"] == "stored"
            detail = (await client.get(f"/history/tts/{stored['id']}")).raise_for_status().json()
            assert detail["text"] == text
            wav = await client.get(f"/history/tts/{stored['id']}/audio", params={"format": "wav"})
            samples = pcm_of(wav.raise_for_status().content)
            assert samples.size / 24_000 == pytest.approx(len(pcm) / 48_000, abs=0.1)
            assert_is_speech(samples, 0.3, 3)
        await ws.send(json.dumps({**SPEAK, "stored": True}))
        await _heard(ws)
        assert json.loads(await ws.recv()) == {"type": "stored", "id": None}


async def test_more_renders_than_may_wait_are_refused(url: str) -> None:
    async with websockets.connect(url) as ws:
        for _ in range(60):
            await ws.send(json.dumps({**SPEAK, "input": "Hello there, how are you today?"}))
        await ws.send(json.dumps({"type": "session.close"}))
        kinds = [json.loads(m) for m in [m async for m in ws] if isinstance(m, str)]
    refused = [m for m in kinds if m["type"] == "error"]
    assert refused
    assert {m["code"] for m in refused} == {"rate_limited"}
    assert sum(m["type"] == "done" for m in kinds) >= 16


async def test_two_sockets_never_hear_each_other(url: str) -> None:
    async def sound(ws: websockets.ClientConnection, text: str) -> bytes:
        await ws.send(json.dumps({**SPEAK, "input": text}))
        return (await _heard(ws))[1]

    async with websockets.connect(url) as one, websockets.connect(url) as other:
        short, long = "Yes.", " ".join([SENTENCE] * 4)
        alone = len(await sound(one, short)), len(await sound(one, long))
        together = await asyncio.gather(*(sound(one, short) for _ in range(1)), sound(other, long))
    # The engine's flutter makes two renders of one text differ by some milliseconds.
    assert len(together[0]) == pytest.approx(alone[0], rel=0.1)
    assert len(together[1]) == pytest.approx(alone[1], rel=0.1)


async def test_a_socket_that_goes_away_ends_its_render(gateway: Running, url: str) -> None:
    engine = gateway.services.engines.synthesizer  # type: ignore[attr-defined]
    took: list[float] = []
    for _ in range(3):
        ws = await websockets.connect(url)
        await ws.send(json.dumps({**SPEAK, "input": " ".join([SENTENCE] * 1000)}))
        assert json.loads(await ws.recv()) == {"type": "start"}
        assert isinstance(await ws.recv(), bytes)
        assert engine.under_way == 1
        ws.transport.abort()
        took.append(await until(lambda: engine.under_way == 0))
    assert min(took) < 0.2, took


async def test_half_a_surrogate_pair_is_replaced_on_the_socket_as_over_http(url: str) -> None:
    """JSON may hold one; UTF-8, and so everything behind the door, cannot."""
    body = json.dumps({**SPEAK, "input": "Good \ud800 morning."})
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(
            url.replace("ws://", "http://").removesuffix("/ws"), content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 200, answer.text
    async with websockets.connect(url) as ws:
        await ws.send(body)
        messages, pcm = await _heard(ws)
    assert messages[-1]["type"] == "done"
    assert pcm


async def test_a_message_of_a_million_brackets_is_an_error_and_the_socket_goes_on(url: str) -> None:
    async with websockets.connect(url) as ws:
        await ws.send("[" * 1_000_000)
        (error,), _ = await _heard(ws)
        assert (error["type"], error["code"]) == ("error", "invalid_json"), error
        await ws.send(json.dumps(SPEAK))
        assert (await _heard(ws))[0][-1]["type"] == "done"
