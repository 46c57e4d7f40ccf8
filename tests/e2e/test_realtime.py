"""A voice conversation with the whole platform and real engines, up to its record in the history."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
import soxr
import websockets
from websockets.asyncio.client import connect

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from tests.e2e import stack as stacks
from tests.support.realtime_kit import server_events
from tests.support.speech import SENTENCES, say, silence

pytestmark = pytest.mark.e2e

ANSWER_SECS = 60.0


async def converse(url: str, key: str, until: str = "response.done") -> tuple[str, list[dict[str, Any]]]:
    """One spoken turn up to the first event of type ``until``; returns the session's id and all events."""
    samples = np.concatenate((silence(0.5), say(SENTENCES[0]), silence(1.0)))
    pcm = (soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ) * 32767).astype("<i2").tobytes()
    offered: Any = ["realtime", f"openai-insecure-api-key.{key}"]
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(ANSWER_SECS), connect(url, subprotocols=offered, max_size=None) as ws:
        assert ws.subprotocol == "realtime"
        audio = {"input": {"transcription": {"model": "whisper-1"}}}
        await ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "audio": audio}}))
        for at in range(0, len(pcm), 4800):
            chunk = base64.b64encode(pcm[at : at + 4800]).decode()
            await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": chunk}))
        while not events or events[-1]["type"] != until:
            events.append(json.loads(await ws.recv()))
            server_events().validate_python(events[-1])
    return events[0]["session"]["id"], events


def test_speech_is_answered(stack: stacks.Stack, client: httpx.Client) -> None:
    url = stack.url.replace("http", "ws") + "/v1/realtime?model=fluxions"
    session_id, events = asyncio.run(converse(url, stack.key()))
    of = {event["type"]: event for event in events}
    assert "river" in of["conversation.item.input_audio_transcription.completed"]["transcript"].lower()
    assert of["response.done"]["response"]["status"] == "completed"
    assert of["response.output_audio_transcript.done"]["transcript"].strip()
    sound = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    assert np.abs(np.frombuffer(sound, "<i2").astype(np.int32)).max() > 2000

    def turns() -> int:
        return len(client.get(f"/history/conversations/{session_id}").json().get("turns", []))

    stacks.until(lambda: turns() == 2, "both turns are in the history", 30)


def test_a_conversation_ends_when_its_client_leaves_during_an_answer(stack: stacks.Stack, client: httpx.Client) -> None:
    url = stack.url.replace("http", "ws") + "/v1/realtime?model=fluxions"
    ids = [asyncio.run(converse(url, stack.key(), "response.output_audio.delta"))[0] for _ in range(4)]

    def ended() -> bool:
        return all(client.get(f"/history/conversations/{one}").json()["ended_at"] for one in ids)

    stacks.until(ended, "all conversations are over in the history", 60)


async def _refused(url: str) -> int:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(url):
            pass
    return refused.value.response.status_code


def test_without_a_key_the_handshake_is_refused(stack: stacks.Stack) -> None:
    assert asyncio.run(_refused(stack.url.replace("http", "ws") + "/v1/realtime")) in (401, 403)
