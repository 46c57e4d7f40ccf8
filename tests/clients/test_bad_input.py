"""What every door answers to bad input: the status, and the field or code that says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
import websockets

from tests.clients.test_live import address
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support import speech

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

WAV = ("talk.wav", recordings.wav(speech.noise(1.0, 0.01)), "audio/wav")
TEXT = ("talk.wav", b"no sound at all " * 20, "audio/wav")
START = {"type": "start", "token": USER_KEY}
SOUND = bytes(3200)


def form(door: str, values: dict[str, str], status: int, named: str, **files: Any) -> Any:
    request = {"data": values, "files": files or {"nothing": ("x", b"")}}
    return pytest.param("POST", door, request, status, named, id=f"{door} {values or ''} {named}")


def query(method: str, door: str, params: dict[str, Any], status: int, named: str) -> Any:
    request = {"params": params, **({"content": WAV[1]} if method == "POST" else {})}
    return pytest.param(method, door, request, status, named, id=f"{door} {params} {named}")


def body(door: str, values: Any, status: int, named: str) -> Any:
    return pytest.param("POST", door, {"json": values}, status, named, id=f"{door} {values} {named}")


@pytest.mark.parametrize(
    ("method", "door", "request_", "status", "named"),
    [
        form("/v1/audio/transcriptions", {"model": "x"}, 400, "file"),
        form("/v1/audio/transcriptions", {"model": "x"}, 400, "not_audio", file=TEXT),
        form("/v1/audio/transcriptions", {}, 400, "model", file=WAV),
        form("/v1/audio/transcriptions", {"model": "x", "keywords[]": "k" * 2000}, 400, "keywords", file=WAV),
        form("/v1/audio/transcriptions", {"model": "x", "include[]": "everything"}, 400, "include", file=WAV),
        form("/v1/audio/translations", {"model": "x"}, 400, "file"),
        form("/v1/audio/translations", {"model": "x", "temperature": "-1"}, 400, "temperature", file=WAV),
        form(
            "/v1/audio/translations", {"model": "x", "response_format": "diarized_json"}, 400, "response_format", file=WAV
        ),
        form("/v1/audio/voices", {"name": "Ada"}, 400, "audio_sample"),
        form("/v1/audio/voices", {}, 400, "name", audio_sample=WAV),
        form("/v1/audio/voices", {"name": "Ada"}, 400, "not_audio", audio_sample=TEXT),
        form("/v1/audio/voices", {"name": "Ada", "consent": "cons_none"}, 404, "consent", audio_sample=WAV),
        form("/v1/audio/voice_consents", {"name": "Ada"}, 400, "language", recording=WAV),
        form("/v1/speakers", {"name": "Ada"}, 422, "audio"),
        form("/v1/speakers", {"name": "A" * 1000}, 422, "name", audio=WAV),
        body("/v1/audio/speech", {"model": "x", "input": "Hello.", "voice": "alloy", "speed": 9}, 400, "speed"),
        body(
            "/v1/audio/speech", {"model": "x", "input": "Hello.", "voice": "alloy", "instructions": 7}, 400, "instructions"
        ),
        body("/v1/audio/speech", ["Hello."], 400, "invalid_request_error"),
        body("/v1/webhooks", {"url": "http://example.org/", "events": []}, 422, "events"),
        body("/v1/webhooks", {"url": "http://example.org/", "secret": "mine"}, 422, "secret"),
        body("/v1/webhooks/wh_none/rotate_secret", {}, 404, "webhook_not_found"),
        body("/v1/webhooks/wh_none/deliveries/d/replay", {}, 404, "webhook_not_found"),
        query("GET", "/v1/webhooks/wh_none/deliveries", {"limit": 0}, 422, "limit"),
        query("GET", "/v1/models/someone%2Felse", {}, 404, "model_not_found"),
        query("POST", "/submit", {"callback_url": "ftp://example.org/"}, 422, "callback_url"),
        query("POST", "/submit", {"redact": "names"}, 422, "redact"),
        query("POST", "/submit", {"num_speakers": 0}, 422, "num_speakers"),
        query("POST", "/submit", {"min_speakers": 3, "max_speakers": 2}, 422, "min_speakers"),
        query("GET", "/transcriptions/1", {"format": "exe"}, 422, "format"),
        query("GET", "/transcriptions/1", {"format": "srt", "line_chars": 1}, 422, "line_chars"),
        query("GET", "/transcriptions/999999", {"format": "docx"}, 404, "id"),
    ],
)
async def test_a_request_is_refused_and_the_answer_says_why(
    here: Platform, method: str, door: str, request_: dict[str, Any], status: int, named: str
) -> None:
    answer = await here.client.request(method, door, **request_)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert error["message"]
    said = (str(error["param"] or "").split(".")[0], error["code"], error["type"])
    assert named in said, said


OWN, DEEPGRAM, ASSEMBLYAI = "/v1/listen", "/v1/listen?model=nova-3", "/v3/ws?sample_rate=16000"


@pytest.mark.parametrize(
    ("door", "messages", "close_code", "named"),
    [
        (OWN, [SOUND], 1008, "start"),
        (OWN, [json.dumps({**START, "endpoint_ms": 1})], 1008, "endpoint_ms"),
        (OWN, [json.dumps({**START, "sample_rate": 7999})], 1008, "sample_rate"),
        (OWN, [json.dumps({**START, "encoding": "mp3"})], 1008, "encoding"),
        (OWN, [json.dumps({**START, "speakers": "some"})], 1008, "speakers"),
        (OWN, [json.dumps({**START, "colour": "red"})], 1008, "colour"),
        (OWN, [json.dumps({**START, "keyterms": ["k"] * 1000})], 1008, "keyterms"),
        (OWN, [json.dumps(START), "sound"], 1008, "JSON"),
        (OWN, [json.dumps(START), '{"type": "dance"}'], 1008, "type"),
        (OWN, [json.dumps({**START, "encoding": "opus"}), SOUND], 1008, "not_audio"),
        (f"{DEEPGRAM}&sample_rate=17000", [SOUND], 1008, "sample_rate"),
        (f"{DEEPGRAM}&encoding=amr-nb", [SOUND], 1008, "encoding"),
        (f"{DEEPGRAM}&encoding={'%C3%A9' * 60}", [SOUND], 1008, "encoding"),
        (f"{DEEPGRAM}&channels=2", [SOUND], 1008, "channels"),
        (f"{DEEPGRAM}&language=klingonese", [SOUND], 1008, "language"),
        (DEEPGRAM, ["sound"], 1008, "DATA-0000"),
        (DEEPGRAM, ['{"type": "Dance"}'], 1008, "DATA-0000"),
        (ASSEMBLYAI, ["sound"], 3006, "JSON"),
        (f"{ASSEMBLYAI}&encoding=flac", [], 3006, "encoding"),
        (f"{ASSEMBLYAI}&min_turn_silence=soon", [], 3006, "min_turn_silence"),
        ("/v3/ws?sample_rate=17000", [], 3006, "sample_rate"),
        (ASSEMBLYAI, ['{"type": "UpdateConfiguration", "max_turn_silence": "soon"}'], 3006, "max_turn_silence"),
    ],
)
async def test_a_stream_is_closed_and_the_close_or_the_last_message_says_why(
    here: Platform, door: str, messages: Sequence[str | bytes], close_code: int, named: str
) -> None:
    headers = {"Authorization": f"Token {USER_KEY}" if door.startswith(DEEPGRAM) else USER_KEY}
    async with websockets.connect(f"{address(here)}{door}", additional_headers=headers) as socket, asyncio.timeout(30):
        told = ""
        with contextlib.suppress(websockets.ConnectionClosedError):
            for message in messages:
                await socket.send(message)
        with contextlib.suppress(websockets.ConnectionClosedError):
            async for answer in socket:
                told = str(answer)
    assert socket.close_code == close_code
    assert named in told + (socket.close_reason or "")
