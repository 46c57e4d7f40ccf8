"""Live transcription over sockets: the own protocol, and Deepgram's SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import websockets
from deepgram import AsyncDeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment

from audio import g711
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from serve.live.own_protocol import OwnProtocol, parse_start
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.support import speech
from tests.support.live_containers import contained
from tests.support.speech import SENTENCES

pytestmark = [
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
    # Deepgram's SDK imports names of earlier versions of websockets.
    pytest.mark.filterwarnings("ignore:websockets.*deprecated:DeprecationWarning"),
]

PIECE_SECS = 0.1


def pcm(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def talk() -> Samples:
    parts = [speech.say(SENTENCES[0], *speech.LOW_VOICE), speech.say(SENTENCES[2], *speech.HIGH_VOICE)]
    samples, _ = speech.sequence(parts, 1.2)
    return samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3)[: samples.size]


def address(here: Platform) -> str:
    return str(here.client.base_url).replace("http://", "ws://").rstrip("/")


def heard(text: str, sentence: str) -> int:
    return len(set(sentence.split()) & set(text.lower().replace(".", "").replace(",", "").split()))


@asynccontextmanager
async def opened(here: Platform, **fields: Any) -> AsyncIterator[Any]:
    async with websockets.connect(f"{address(here)}/v1/listen") as socket:
        await socket.send(json.dumps({"type": "start", "token": USER_KEY, **fields}))
        yield socket


async def all_of(socket: Any) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(websockets.ConnectionClosedError):
        async for message in socket:
            found += [json.loads(message)]
    return found


async def test_the_own_protocol_sends_results_during_speech(here: Platform) -> None:
    async with opened(here, store=True, speakers=True, filename="call", language="en") as socket:
        got = asyncio.create_task(all_of(socket))
        sound = pcm(talk())
        size = int(PIECE_SECS * SAMPLE_RATE_HZ) * 2
        for at in range(0, len(sound), size):
            await socket.send(sound[at : at + size])
            await asyncio.sleep(PIECE_SECS / 4)
        await socket.send('{"type": "keepalive"}')
        await socket.send('{"type": "finalize"}')
        await socket.send('{"type": "close"}')
        messages = await asyncio.wait_for(got, 60)
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "started"
    assert kinds[-1] == "closed"
    finals = [message for message in messages if message["type"] == "final" and message["words"]]
    assert heard(" ".join(one["text"] for one in finals), SENTENCES[0]) >= 6
    assert heard(" ".join(one["text"] for one in finals), SENTENCES[2]) >= 5
    assert {one["speaker"] for one in finals} == {"0", "1"}
    starts = [word["start"] for one in finals for word in one["words"]]
    assert starts == sorted(starts)
    assert kinds.count("speech_started") >= 2
    stored = (await here.client.get(f"/transcriptions/{messages[-1]['transcription_id']}")).json()
    assert (stored["status"], stored["filename"], stored["num_speakers"]) == ("completed", "call", 2)
    assert stored["text"].startswith("SPEAKER_0: ")
    listed = (await here.client.get("/transcriptions")).json()["transcriptions"][0]
    sent = await here.client.get(urlsplit(listed["original_audio_url"])._replace(scheme="", netloc="").geturl())
    assert sent.content.startswith(b"RIFF")
    assert len(sent.content) == pytest.approx(len(sound), rel=0.01)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ('{"type": "start"}', "missing_api_key"),
        ('{"type": "start", "token": "fx_nobody"}', "invalid_api_key"),
        (json.dumps({"type": "start", "token": USER_KEY, "sample_rate": 17_000}), "invalid_parameter"),
        (json.dumps({"type": "start", "token": USER_KEY, "language": "xx"}), "invalid_parameter"),
        ("hello", "not_started"),
    ],
)
async def test_a_stream_that_cannot_begin_says_why(here: Platform, first: str, code: str) -> None:
    async with websockets.connect(f"{address(here)}/v1/listen") as socket:
        await socket.send(first)
        messages = await asyncio.wait_for(all_of(socket), 10)
        assert messages[-1]["type"] == "error"
        assert messages[-1]["code"] == code
        assert socket.close_code == 1008


@pytest.mark.parametrize("container", ["webm", "ogg"])
async def test_opus_as_a_browser_records_it_is_transcribed(here: Platform, container: str) -> None:
    data = contained(talk(), container)
    async with opened(here, encoding="opus", language="en", smart_turn=True) as socket:
        got = asyncio.create_task(all_of(socket))
        for at in range(0, len(data), 1000):
            await socket.send(data[at : at + 1000])
        await socket.send('{"type": "close"}')
        messages = await asyncio.wait_for(got, 60)
    assert messages[-1]["type"] == "closed", messages[-1]
    assert messages[-1]["audio_secs"] == pytest.approx(talk().size / SAMPLE_RATE_HZ, abs=0.1)
    text = " ".join(one["text"] for one in messages if one["type"] == "final")
    assert heard(text, SENTENCES[0]) >= 6
    assert heard(text, SENTENCES[2]) >= 5


async def test_bytes_of_another_format_are_named(here: Platform) -> None:
    async with opened(here, encoding="opus") as socket:
        await socket.send(pcm(talk())[:4000])
        messages = await asyncio.wait_for(all_of(socket), 30)
        assert (messages[-1]["type"], messages[-1]["code"]) == ("error", "not_audio")
        assert socket.close_code == 1008


async def test_text_for_sound_ends_the_stream_with_an_error_and_what_was_said_is_kept(here: Platform) -> None:
    async with opened(here) as socket:
        await socket.send(pcm(speech.say(SENTENCES[1])))
        await socket.send("sound")
        messages = await asyncio.wait_for(all_of(socket), 30)
    assert messages[-1]["code"] == "invalid_json"


async def test_a_client_that_leaves_finds_what_it_said_in_history(here: Platform) -> None:
    before = (await here.client.get("/transcriptions")).json()["total"]
    async with opened(here, filename="left") as socket:
        await socket.send(pcm(np.concatenate((speech.say(SENTENCES[3]), speech.silence(0.3)))))
        assert json.loads(await socket.recv())["type"] == "started"
    async with asyncio.timeout(30):
        while (page := (await here.client.get("/transcriptions")).json())["total"] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert page["transcriptions"][0]["filename"] == "left"


async def test_a_stream_that_is_cancelled_with_its_socket_is_recorded_up_to_its_last_word(here: Platform) -> None:
    services, began = here.gateway.services, asyncio.Event()
    sent: asyncio.Queue[str | bytes] = asyncio.Queue()
    sent.put_nowait(pcm(speech.say(SENTENCES[3])))  # no silence follows: the utterance has not ended

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "speech_started":
            began.set()

    start = parse_start(json.dumps({"type": "start", "filename": "cancelled", "language": "en"}))
    assert start is not None
    account = (await services.keys.principal(USER_KEY)).account
    serving = asyncio.create_task(services.live_streams.run(account, start.request(), OwnProtocol(), send, sent.get))
    await asyncio.wait_for(began.wait(), 30)
    serving.cancel()  # as Ray Serve does at once when a socket ends
    await asyncio.wait([serving])
    async with asyncio.timeout(60):
        while not (  # noqa: ASYNC110
            found := [
                one
                for one in (await here.client.get("/transcriptions")).json()["transcriptions"]
                if one["filename"] == "cancelled"
            ]
        ):
            await asyncio.sleep(0.05)
    stored = (await here.client.get(f"/transcriptions/{found[0]['id']}")).json()
    assert heard(stored["text"], SENTENCES[3]) >= 5


async def test_deepgrams_sdk_receives_interim_and_final_results(here: Platform) -> None:
    place = address(here)
    environment = DeepgramClientEnvironment(base=place, production=place, agent=place, agent_rest=place)
    client = AsyncDeepgramClient(api_key=USER_KEY, environment=environment)
    got: list[Any] = []
    coded = g711.encode(
        np.frombuffer(pcm(talk()), "<i2")[::2].copy(), "mu"
    )  # every second sample: telephone sound of 8 kHz
    async with client.listen.v1.connect(
        model="nova-3",
        encoding="mulaw",
        sample_rate=8000,
        interim_results="true",
        vad_events="true",
        utterance_end_ms="1000",
        language="en-US",
        diarize="true",
    ) as connection:
        connection.on(EventType.MESSAGE, got.append)
        listening = asyncio.create_task(connection.start_listening())
        for at in range(0, len(coded), 800):
            await connection.send_media(coded[at : at + 800])
            await asyncio.sleep(PIECE_SECS / 4)
        await connection.send_keep_alive()
        await connection.send_finalize()
        await connection.send_close_stream()
        await asyncio.wait_for(listening, 60)
    results = [message for message in got if message.type == "Results"]
    finals = [message for message in results if message.is_final]
    text = " ".join(one.channel.alternatives[0].transcript for one in finals)
    assert heard(text, SENTENCES[0]) >= 5
    assert any(one.speech_final for one in finals)
    assert any(one.from_finalize for one in finals)
    spoken = [word for one in finals for word in one.channel.alternatives[0].words]
    assert all(word.punctuated_word and word.speaker is not None for word in spoken)
    assert {"SpeechStarted", "UtteranceEnd", "Metadata"} <= {message.type for message in got}
    assert got[-1].type == "Metadata"
    assert got[-1].duration == pytest.approx(len(coded) / 8000, abs=0.1)
