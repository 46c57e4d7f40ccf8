"""A voice conversation with the whole platform and real engines, up to its record in the history."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import av
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
OPUS_RATE_HZ = 48_000


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
        began = asyncio.get_running_loop().time()
        for at in range(0, len(pcm), 4800):
            chunk = base64.b64encode(pcm[at : at + 4800]).decode()
            await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": chunk}))
            await asyncio.sleep(max(0.0, began + at / 2 / SPEECH_RATE_HZ - asyncio.get_running_loop().time()))
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
    check_places(client, session_id)


def check_places(client: httpx.Client, session_id: str) -> None:
    """The turns are where the recording has their speech: the user's on its left side, the model's on its right."""
    path, found = f"/history/conversations/{session_id}", {}

    def has_ended() -> bool:
        found.update(client.get(path, params={"include_measures": "true"}).json())
        return found["ended_at"] is not None

    stacks.until(has_ended, "the conversation is over in the history", 60)
    sound = stereo(client.get(found["download_url"]).content)
    for side, turn in enumerate(found["turns"]):
        start, end = turn["measures"]["start_secs"], turn["measures"]["end_secs"]
        loud = np.flatnonzero(np.abs(sound[:, side]) > 0.02) / OPUS_RATE_HZ
        assert start - 0.1 <= loud[0] <= start + 0.5, (turn["role"], start, loud[0])
        assert end - 0.8 <= loud[-1] <= end + 0.25, (turn["role"], end, loud[-1])
    hits = client.get("/history/conversations/search", params={"q": found["turns"][0]["text"]}).json()["data"]
    (hit,) = [hit for hit in hits if hit["id"] == found["turns"][0]["id"]]
    assert hit["start_secs"] == found["turns"][0]["measures"]["start_secs"]


def stereo(opus: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """``(num_samples, 2) float32`` at 48 kHz."""
    with av.open(io.BytesIO(opus)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate([frame.reshape(-1, 2) if frame.shape[0] == 1 else frame.T for frame in frames]).astype(np.float32)


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
