"""Kokoro behind `/vui`: voices and their languages, speed, streams that begin early, cancellation, and refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import websockets

from audio.pcm import to_float
from cli.main import main
from cli.output import OK
from schemas.domain import SPEECH_RATE_HZ
from serve.engines.tts.pitch import melody
from tests.contract.gateway import USER_KEY, Running, quick_settings, running
from tests.contract.speaking import MAEVE, assert_is_speech, pcm_of, served, until

pytestmark = [pytest.mark.contract, pytest.mark.asyncio(loop_scope="module")]

ASK: dict[str, Any] = {"voice": MAEVE, "input": "Of course.", "verify_chunks": False}
LONG = "The old man walked slowly along the river in the morning, and she looked out over the garden. " * 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    home = tmp_path_factory.mktemp("home")
    async with running(home, quick_settings(home, "kokoro")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def anyone(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(None) as client:
        client.timeout = httpx.Timeout(120)
        yield client


async def test_voices_are_listed_with_their_language_the_contracts_first(anyone: httpx.AsyncClient) -> None:
    voices = (await anyone.get("/vui/voices")).json()["voices"]
    assert len(voices) == 41
    assert all(set(voice) == {"voice_id", "preview_text", "language"} for voice in voices)
    assert [voice["voice_id"].partition(".")[0] for voice in voices[:3]] == ["maeve", "abraham", "harry"]
    assert {voice["language"] for voice in voices} == {"en-us", "en-gb", "es", "fr", "it", "pt-br", "hi"}


async def test_a_preview_is_in_the_voices_language(anyone: httpx.AsyncClient) -> None:
    response = await anyone.get("/vui/voices/siwis/preview")
    sound = pcm_of(response.content)
    assert_is_speech(sound, 2, 8)
    assert melody(to_float(sound)).median_hz == pytest.approx(202, rel=0.06)


async def test_speed_is_heeded_and_temperature_changes_nothing(anyone: httpx.AsyncClient) -> None:
    async def secs(**fields: Any) -> float:
        response = await anyone.post("/vui/v1/tts", json={**ASK, "input": "Not at all, my dear friend.", **fields})
        assert response.status_code == 200, response.text
        return pcm_of(response.content).size / SPEECH_RATE_HZ

    usual, slow = await secs(), await secs(speed=0.6)
    assert slow == pytest.approx(usual / 0.6, rel=0.12)
    assert await secs(temperature=2.0) == usual


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"voice": "nobody"}, 404, "unknown_voice"),
        ({"speed": 2.5}, 422, "invalid_parameter"),
        ({"input": "😀"}, 422, "nothing_to_say"),
        ({"input": "?!"}, 422, "nothing_to_say"),
        ({"input": "<speak><break time='1s'/></speak>"}, 422, "nothing_to_say"),
    ],
)
async def test_text_that_cannot_be_rendered_is_refused_by_name(
    anyone: httpx.AsyncClient, change: dict[str, Any], status: int, code: str
) -> None:
    response = await anyone.post("/vui/v1/tts", json={**ASK, **change})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text


async def test_the_first_audio_of_a_stream_comes_long_before_its_end(gateway: Running) -> None:
    async with served(gateway) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=300) as client:
        await client.post("/vui/v1/tts", json=ASK)  # loads the engine
        ask = {**ASK, "input": LONG[: len(LONG) // 3], "response_format": "pcm", "stream": True}
        began, first, sound = time.monotonic(), 0.0, b""
        async with client.stream("POST", "/vui/v1/tts", json=ask) as response:
            async for piece in response.aiter_bytes():
                first = first or time.monotonic() - began
                sound += piece
    whole = time.monotonic() - began
    assert_is_speech(np.frombuffer(sound, "<i2"), 8, 16)
    assert first < whole / 3


async def test_a_client_that_leaves_ends_the_call_of_the_model(gateway: Running) -> None:
    engine = gateway.services.engines.synthesizer  # type: ignore[attr-defined]
    async with served(gateway) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as mine:
            asking = asyncio.create_task(mine.post("/vui/v1/tts", json={**ASK, "input": LONG}, timeout=60))
            await until(lambda: engine.under_way == 1)
            await asyncio.sleep(0.3)  # into the first passage
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        # Half a minute of sound is under way; a passage alone takes seconds.
        assert await until(lambda: engine.under_way == 0) < 1.5


async def test_the_socket_heeds_speed_and_stays_open(gateway: Running) -> None:
    async def spoken(socket: Any, **fields: Any) -> tuple[int, dict[str, Any]]:
        await socket.send(json.dumps({"type": "speak", **ASK, **fields}))
        size = 0
        async for message in socket:
            if isinstance(message, bytes):
                size += len(message)
            elif (said := json.loads(message))["type"] != "start":
                return size, said
        raise AssertionError("the socket was closed")

    async with served(gateway) as address, websockets.connect(f"ws://{address}/vui/v1/tts/ws") as socket:
        usual, done = await spoken(socket)
        assert done["type"] == "done"
        refused = (await spoken(socket, speed=0.1))[1]
        assert (refused["type"], refused["param"]) == ("error", "speed")
        fast = (await spoken(socket, speed=1.8))[0]
    assert fast < 0.75 * usual


async def test_the_command_line_has_speed_and_languages(
    gateway: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*arguments: str) -> int:
        async with served(gateway) as address:
            return await asyncio.to_thread(main, [*arguments, "--url", f"http://{address}", "--key", USER_KEY])

    target = tmp_path / "a.wav"
    assert await run("say", "Hola, amigo.", "-o", str(target), "--voice", "dora", "--speed", "0.8", "--no-verify") == OK
    assert_is_speech(pcm_of(target.read_bytes()), 0.8, 3)
    assert await run("voices", "list") == OK
    listed = capsys.readouterr().out
    assert "pt-br" in listed
    assert "siwis.ha35f5675a" in listed
