"""`POST /vui/v1/tts` and the voices: parameters, formats, sound, who may, and what is kept."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import polars as pl
import pytest

from lakehouse.storage.location import Location
from schemas.domain import SPEECH_RATE_HZ
from schemas.settings import EngineSettings, ServerSettings, Settings, SpeechSettings, StorageSettings
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, running
from tests.contract.speaking import MAEVE, SENTENCE, assert_is_speech, pcm_of, served, until

pytestmark = pytest.mark.contract

ASK: dict[str, Any] = {"voice": MAEVE, "input": SENTENCE, "verify_chunks": False}


def _decoded(content: bytes) -> tuple[str, np.ndarray[Any, np.dtype[np.int16]]]:
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("s16", "mono", SPEECH_RATE_HZ)
        frames = [out.to_ndarray()[0] for frame in container.decode(stream) for out in resampler.resample(frame)]
        return stream.codec_context.name, np.concatenate(frames)


async def _renders(gateway: Running) -> list[dict[str, Any]]:
    uri = Location.of(gateway.services.settings).table_uri("tts_renders")
    frame = await asyncio.to_thread(lambda: pl.scan_delta(uri).sort("id").collect())
    return frame.to_dicts()


async def test_voices_are_open_and_have_previews_that_differ(gateway: Running) -> None:
    async with gateway.client(None) as anyone:
        voices = (await anyone.get("/vui/voices")).json()["voices"]
        assert {"maeve.h736bab09a", "abraham.h736bab09a", "harry.h736bab09a"} <= {v["voice_id"] for v in voices}
        assert all(set(v) == {"voice_id", "preview_text", "language"} for v in voices)
        sounds = []
        for voice in voices[:3]:
            response = await anyone.get(f"/vui/voices/{voice['voice_id']}/preview")
            assert response.headers["content-type"] == "audio/wav"
            sounds.append(pcm_of(response.content))
            assert_is_speech(sounds[-1], 2, 12)
        assert len({sound.size for sound in sounds}) == 3
        assert (await anyone.get("/vui/voices/nobody/preview")).status_code == 404


async def test_a_complete_wav_says_its_length_and_its_verdict(gateway: Running) -> None:
    async with gateway.client(None) as anyone:
        response = await anyone.post("/vui/v1/tts", json={"voice": MAEVE, "input": SENTENCE})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "audio/wav"
    assert int(response.headers["content-length"]) == len(response.content)
    samples = pcm_of(response.content)
    assert_is_speech(samples, 2, 6)
    assert float(response.headers["x-audio-seconds"]) == pytest.approx(samples.size / SPEECH_RATE_HZ, abs=1e-3)
    assert response.headers["x-verify-enabled"] == "true"
    assert {"x-verify-chunks", "x-verify-retries", "x-verify-failed"} <= set(response.headers)


async def test_pcm_is_l16_and_the_very_samples_of_the_wav_format(client: httpx.AsyncClient) -> None:
    response = await client.post("/vui/v1/tts", json={**ASK, "response_format": "pcm"})
    assert response.headers["content-type"] == "audio/L16; rate=24000; channels=1"
    assert response.content[:4] != b"RIFF"
    assert_is_speech(np.frombuffer(response.content, "<i2"), 2, 6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fmt", "codec", "media_type"),
    [("mp3", "mp3float", "audio/mpeg"), ("opus", "opus", "audio/ogg; codecs=opus"), ("flac", "flac", "audio/flac")],
)
async def test_other_formats_hold_the_same_speech(
    client: httpx.AsyncClient, fmt: str, codec: str, media_type: str, stream: bool
) -> None:
    response = await client.post("/vui/v1/tts", json={**ASK, "response_format": fmt, "stream": stream})
    assert response.headers["content-type"] == media_type
    name, samples = _decoded(response.content)
    assert name in (codec, codec.removesuffix("float"), f"lib{codec}")
    assert_is_speech(samples, 2, 6)


@pytest.mark.parametrize("how", ["query", "body"])
async def test_a_stream_starts_before_it_ends_and_has_an_open_header(gateway: Running, how: str) -> None:
    text = " ".join([SENTENCE] * 30)
    ask = {**ASK, "input": text, **({"stream": 1} if how == "body" else {})}
    params = {"stream": "1"} if how == "query" else {}
    async with served(gateway) as address, httpx.AsyncClient(base_url=f"http://{address}") as anyone:
        await anyone.post("/vui/v1/tts", json=ASK)  # loads the engine
        began = time.monotonic()
        async with anyone.stream("POST", "/vui/v1/tts", json=ask, params=params) as response:
            assert response.headers["transfer-encoding"] == "chunked"
            pieces: list[tuple[float, bytes]] = [
                (time.monotonic() - began, piece) async for piece in response.aiter_bytes()
            ]
    sound = b"".join(piece for _, piece in pieces)
    assert sound[:4] == b"RIFF"
    assert sound[40:44] == b"\xff\xff\xff\xff"
    samples = np.frombuffer(sound[44:], "<i2")
    assert_is_speech(samples, 60, 180)
    assert pieces[0][0] < pieces[-1][0] / 3
    first = np.frombuffer((pieces[0][1] + pieces[1][1])[44:4844], "<i2")
    assert np.abs(first).max() > 300, "the first tenth of a second is silent"


async def test_max_secs_is_a_ceiling_and_zero_is_none(client: httpx.AsyncClient) -> None:
    cut = pcm_of((await client.post("/vui/v1/tts", json={**ASK, "max_secs": 1.0})).content)
    assert cut.size == SPEECH_RATE_HZ
    assert abs(int(cut[-1])) < 200
    assert_is_speech(pcm_of((await client.post("/vui/v1/tts", json={**ASK, "max_secs": 0})).content), 2, 6)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": 5}, "input"),
        ({"input": "x" * 100_001}, "input"),
        ({"input": " \n "}, "input"),
        ({"voice": ""}, "voice"),
        ({"voice": None}, "voice"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"speed": 0.49}, "speed"),
        ({"speed": 2.01}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"max_secs": -1}, "max_secs"),
        ({"max_secs": "long"}, "max_secs"),
        ({"response_format": "aiff"}, "response_format"),
        ({"stream": "perhaps"}, "stream"),
        ({"verify_chunks": 7}, "verify_chunks"),
    ],
)
async def test_a_field_out_of_bounds_is_422_and_named(
    client: httpx.AsyncClient, change: dict[str, Any], param: str
) -> None:
    response = await client.post(
        "/vui/v1/tts", content=json.dumps({**ASK, **change}), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param


async def test_missing_fields_unknown_voices_broken_json_and_huge_bodies_are_refused(client: httpx.AsyncClient) -> None:
    post = client.post
    assert (await post("/vui/v1/tts", json={"voice": MAEVE})).json()["error"]["param"] == "input"
    assert (await post("/vui/v1/tts", json={"input": "hello"})).json()["error"]["param"] == "voice"
    assert (await post("/vui/v1/tts", json={**ASK, "voice": "nobody"})).status_code == 404
    headers = {"Content-Type": "application/json"}
    broken = await post("/vui/v1/tts", content=b'{"voice": ', headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")

    async def endless() -> Any:
        while True:
            yield b" " * 65536

    assert (await post("/vui/v1/tts", content=endless(), headers=headers)).status_code == 413
    assert (await post("/vui/v1/tts", params={"stream": "perhaps"}, json=ASK)).json()["error"]["param"] == "stream"


async def test_a_wrong_key_is_refused_and_a_cloned_voice_needs_one(gateway: Running) -> None:
    async with gateway.client("fx_wrong") as wrong, gateway.client(None) as anyone, gateway.client(OTHER_KEY) as other:
        assert (await wrong.post("/vui/v1/tts", json=ASK)).status_code == 401
        own = {**ASK, "voice": "u-0123456789ab-01234567"}
        assert (await anyone.post("/vui/v1/tts", json=own)).status_code == 401
        assert (await other.post("/vui/v1/tts", json=own)).status_code == 404


async def test_what_is_spoken_with_a_key_becomes_a_row_with_a_copy(gateway: Running, client: httpx.AsyncClient) -> None:
    async with gateway.client(None) as anyone:
        await anyone.post("/vui/v1/tts", json=ASK)
    response = await client.post("/vui/v1/tts", json={**ASK, "voice": "maeve", "temperature": 0.5})
    async with asyncio.timeout(60):
        while not (rows := await _renders(gateway)):  # noqa: ASYNC110 - a table tells nobody
            await asyncio.sleep(0.02)
    (row,) = rows
    secs = pcm_of(response.content).size / SPEECH_RATE_HZ
    assert (row["account"], row["voice"], row["text"]) == ("default", MAEVE, SENTENCE)
    assert row["chars"] == len(SENTENCE)
    assert row["cost_usd"] == pytest.approx(len(SENTENCE) * 10 / 1e6)
    assert row["audio_secs"] == pytest.approx(secs)
    assert (row["temperature"], row["chunks"]) == (0.5, 1)
    copy = await gateway.services.objects.get_bytes(row["audio_key"])
    name, samples = _decoded(copy)
    assert name in ("opus", "libopus")
    assert_is_speech(samples, secs - 0.1, secs + 0.1)


@pytest.mark.parametrize("stream", [1, 0])
async def test_a_disconnect_ends_the_render_and_bills_finished_sentences(gateway: Running, stream: int) -> None:
    engine = gateway.services.engines.synthesizer  # type: ignore[attr-defined]
    text = " ".join([SENTENCE] * 1000)
    ask = {**ASK, "input": text, "stream": stream}
    took: list[float] = []
    async with served(gateway) as address:
        for _ in range(3):
            async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": USER_KEY}) as mine:
                asking = asyncio.create_task(_read_some(mine, ask))
                if stream:
                    await asking  # Sound has come; the render may be over before anybody could look at it.
                else:
                    await until(lambda: engine.under_way == 1)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            took.append(await until(lambda: engine.under_way == 0))
    assert min(took) < 0.2, took
    for row in await _renders(gateway):
        assert 0 < row["audio_secs"] < 600
        assert row["chars"] < len(text)
        assert await gateway.services.objects.size(row["audio_key"]) > 100


async def _read_some(client: httpx.AsyncClient, ask: dict[str, Any]) -> None:
    async with client.stream("POST", "/vui/v1/tts", json=ask) as response:
        async for _ in response.aiter_bytes():
            return


async def test_renders_without_a_key_are_limited_by_address(tmp_path: Path) -> None:
    settings = Settings(
        server=ServerSettings(home=tmp_path),
        storage=StorageSettings(fsync=False),
        speech=SpeechSettings(anonymous_renders_per_minute=2, anonymous_chars_per_minute=200),
        engines=EngineSettings(tts_engine="espeak"),
    )
    async with running(tmp_path, settings) as gateway, gateway.client(None) as anyone, gateway.client() as mine:
        short = {**ASK, "input": "Hello there."}
        long = await anyone.post("/vui/v1/tts", json={**ASK, "input": SENTENCE * 4})
        assert long.status_code == 429
        assert (await anyone.post("/vui/v1/tts", json=short)).status_code == 200
        refused = await anyone.post("/vui/v1/tts", json=short)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await mine.post("/vui/v1/tts", json=short)).status_code == 200


async def test_the_document_shows_sound(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    answer = paths["/vui/v1/tts"]["post"]["responses"]["200"]
    assert {"audio/wav", "audio/L16"} <= set(answer["content"])
    assert "X-Verify-Retries" in answer["headers"]
    assert "multipart/form-data" in paths["/vui/v1/voices"]["post"]["requestBody"]["content"]
