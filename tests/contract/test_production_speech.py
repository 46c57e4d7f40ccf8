"""The speech surface with a model behind it: streamed, stopped, cloned and checked through the whole API."""

from __future__ import annotations

import asyncio
import io
import json
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import websockets

from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.settings import EngineSettings, ServerSettings, Settings, SpeechSettings, StorageSettings
from serve.engines.tts.token_generation import longest_secs
from tests.contract.gateway import Running, running
from tests.contract.speaking import MAEVE, pcm_of, served, until
from tests.support import speech, synthesizers

pytestmark = pytest.mark.contract

TEXT = "I see."
ASK: dict[str, Any] = {"voice": MAEVE, "input": TEXT, "verify_chunks": False}
LONG: dict[str, Any] = {**ASK, "input": "It goes on and on, one word after the other. " * 40}


def settings(home: Path, engine: str = "csm", model: Path | str = "") -> Settings:
    return Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        speech=SpeechSettings(tts_verify_retries=1),
        engines=EngineSettings(tts_engine=engine, tts_model=str(model), device="cpu"),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(home := tmp_path_factory.mktemp("home"), settings(home, "csm", synthesizers.tiny_csm())) as started:
        yield started


def clip(samples: Samples) -> bytes:
    """``(num_samples,) float32`` at 16 kHz as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE_HZ)
        out.writeframes(to_int16(samples).tobytes())
    return file.getvalue()


async def cloned(client: httpx.AsyncClient, samples: Samples, **fields: Any) -> httpx.Response:
    files = {"audio": ("clip.wav", clip(samples), "audio/wav")}
    return await client.post("/vui/v1/voices", files=files, data=fields, timeout=120)


@pytest.mark.asyncio(loop_scope="module")
class TestCsm:
    async def test_a_render_is_a_wav_at_24_khz_of_what_the_text_allows(self, gateway: Running) -> None:
        async with gateway.client() as client:
            answer = await client.post("/vui/v1/tts", json=ASK, timeout=60)
        assert answer.status_code == 200, answer.text
        sound = to_float(pcm_of(answer.content))
        assert 0.5 < sound.size / SPEECH_RATE_HZ <= longest_secs(TEXT) + 0.1
        assert float(np.sqrt(np.mean(sound**2))) > 0.02

    async def test_sound_is_streamed_while_the_model_generates(self, gateway: Running) -> None:
        async with served(gateway) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
            for _ in range(2):  # the first makes the voice
                began = time.perf_counter()
                ask = {**ASK, "stream": True, "response_format": "pcm", "max_secs": 3.0, "input": TEXT * 3}
                async with client.stream("POST", "/vui/v1/tts", json=ask, timeout=60) as answer:
                    arrived = [(time.perf_counter() - began, len(piece)) async for piece in answer.aiter_raw()]
        assert sum(size for _, size in arrived) == 3 * 2 * SPEECH_RATE_HZ
        assert arrived[0][0] < 0.4 * arrived[-1][0]
        assert arrived[0][1] <= 2 * 1920  # no more than the first frame

    async def test_a_socket_carries_it_and_one_who_leaves_stops_the_model(self, gateway: Running) -> None:
        remote = gateway.services.engines.synthesizer  # type: ignore[attr-defined]
        async with served(gateway) as address, websockets.connect(f"ws://{address}/vui/v1/tts/ws") as socket:
            await socket.send(json.dumps({"type": "speak", **ASK}))
            assert json.loads(await socket.recv()) == {"type": "start"}
            size = 0
            while isinstance(message := await socket.recv(), bytes):
                size += len(message)
            assert json.loads(message)["audio_secs"] == pytest.approx(size / 2 / SPEECH_RATE_HZ, abs=1e-3)
            await socket.send(json.dumps({"type": "speak", **LONG}))
            await socket.recv()
            assert isinstance(await socket.recv(), bytes)
            assert remote.under_way == 1
            await socket.close()
            assert await until(lambda: remote.under_way == 0) < 1.0
        async with gateway.client() as client:
            began = time.perf_counter()
            assert (await client.post("/vui/v1/tts", json={**ASK, "max_secs": 0.2}, timeout=60)).status_code == 200
            assert time.perf_counter() - began < 3.0

    async def test_renders_at_once_take_turns_and_one_who_waits_may_leave(self, gateway: Running) -> None:
        remote = gateway.services.engines.synthesizer  # type: ignore[attr-defined]
        async with gateway.client() as client:
            first = asyncio.create_task(client.post("/vui/v1/tts", json=ASK, timeout=60))
            await until(lambda: remote.under_way == 1)
            waiting = asyncio.create_task(client.post("/vui/v1/tts", json={**LONG, "verify_chunks": True}, timeout=60))
            await until(lambda: remote.under_way == 2)
            waiting.cancel()
            await until(lambda: remote.under_way < 2)
            assert (await first).status_code == 200
            await until(lambda: remote.under_way == 0)

    async def test_what_the_recogniser_does_not_hear_is_rendered_again_and_reported(self, gateway: Running) -> None:
        ask = {"type": "speak", **ASK, "input": "He is not here now.", "verify_chunks": True}
        async with served(gateway) as address, websockets.connect(f"ws://{address}/vui/v1/tts/ws") as socket:
            await socket.send(json.dumps(ask))
            messages = [message async for message in _until_done(socket)]
        verdict = json.loads(messages[-1])["verify"]
        assert (verdict["enabled"], verdict["chunks"], verdict["retries"], verdict["failed"]) == (True, 1, 1, 1)
        assert verdict["word_error_rate"] > 0.7

    async def test_a_clip_becomes_the_prompt_of_its_voice(self, gateway: Running) -> None:
        spoken, said = 0.8 * speech.say(speech.SENTENCES[0], *speech.LOW_VOICE), speech.SENTENCES[0]
        async with gateway.client() as client:
            made = await cloned(client, spoken, text=said)
            assert made.status_code == 200, made.text
            voice_id = made.json()["voice_id"]
            voice = await gateway.services.speech.voice(voice_id, "default")
            assert voice.prompt is not None
            assert voice.prompt.text == said
            resampler = Resampler(SPEECH_RATE_HZ)
            expected = np.concatenate((resampler.feed(spoken, SAMPLE_RATE_HZ), resampler.finish()))
            heard = to_float(np.frombuffer(voice.prompt.pcm, "<i2"))
            assert heard.size == pytest.approx(expected.size, abs=2)
            np.testing.assert_allclose(heard[: expected.size], expected[: heard.size], atol=2e-3)
            assert 70 < voice.f0_hz < 160
            answer = await client.post("/vui/v1/tts", json={**ASK, "voice": voice_id}, timeout=60)
            assert pcm_of(answer.content).size > SPEECH_RATE_HZ // 2
            refused = await cloned(client, spoken, text="word " * 200)
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, "text")
            silent = await cloned(client, speech.silence(3.0), text=said)
            assert (silent.status_code, silent.json()["error"]["code"]) == (400, "silent_clip")

    async def test_of_a_long_clip_the_beginning_is_used_with_its_own_transcript(self, gateway: Running) -> None:
        sentences = [0.8 * speech.say(text, *speech.LOW_VOICE) for text in speech.SENTENCES[:4]]
        samples = np.concatenate([part for sentence in sentences for part in (sentence, speech.silence(0.5))])
        assert samples.size > 11 * SAMPLE_RATE_HZ
        async with gateway.client() as client:
            made = await cloned(client, samples, text=" ".join(speech.SENTENCES[:4]))
        assert made.status_code == 200, made.text
        voice = await gateway.services.speech.voice(made.json()["voice_id"], "default")
        assert voice.prompt is not None
        assert 5 <= len(voice.prompt.pcm) / 2 / SPEECH_RATE_HZ <= 10
        begun, never = set(speech.SENTENCES[0].split()), set(speech.SENTENCES[3].split()) - set(speech.SENTENCES[0].split())
        heard = set(voice.prompt.text.split())
        assert len(begun & heard) >= 3
        assert len(never & heard) <= 2


async def test_dia_laughs_at_24_khz_through_the_api(tmp_path: Path) -> None:
    async with running(tmp_path, settings(tmp_path, "dia", synthesizers.tiny_dia())) as gateway, gateway.client() as client:
        answer = await client.post("/vui/v1/tts", json={**ASK, "input": "[laugh] Oh."}, timeout=120)
        assert answer.status_code == 200, answer.text
        assert pcm_of(answer.content).size > SPEECH_RATE_HZ
        (slot,) = [slot for slot in await gateway.services.engines.slots() if slot.slot == "synthesizer"]
        assert slot.info is not None
        assert (slot.engine, slot.info.capabilities["temperature"]) == ("dia", True)


async def test_a_voice_of_one_engine_is_refused_by_another_that_cannot_use_it(tmp_path: Path) -> None:
    spoken = 0.8 * speech.say(speech.SENTENCES[0], *speech.LOW_VOICE)
    async with running(tmp_path, settings(tmp_path, "csm", synthesizers.tiny_csm())) as gateway, gateway.client() as client:
        voice_id = (await cloned(client, spoken, text=speech.SENTENCES[0])).json()["voice_id"]
    async with running(tmp_path, settings(tmp_path, "espeak")) as gateway, gateway.client() as client:
        refused = await client.post("/vui/v1/tts", json={**ASK, "voice": voice_id})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "voice_of_another_engine")


async def _until_done(socket: websockets.ClientConnection) -> AsyncIterator[str]:
    async for message in socket:
        if isinstance(message, str):
            yield message
            if json.loads(message)["type"] != "start":
                return
