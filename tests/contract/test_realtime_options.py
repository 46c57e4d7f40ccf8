"""Options in the address of a realtime session: what is stored of it, and when its responses are prepared."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
import websockets

from audio.wire_formats import converted
from tests.contract.gateway import Running
from tests.contract.speaking import SENTENCE, until
from tests.support.realtime_kit import ScriptedEngines
from tests.support.realtime_socket import next_of, opened
from tests.support.speech import say

pytestmark = pytest.mark.contract


async def test_a_session_may_keep_its_audio_out_of_the_history(gateway: Running, address: str) -> None:
    ids: dict[str, str] = {}
    for stores in ("true", "false"):
        async with opened(address, path=f"/v1/realtime?model=x&store_audio={stores}") as ws:
            ids[stores] = (await next_of(ws, "session.created"))["session"]["id"]
            audio = base64.b64encode(bytes(48_000)).decode()
            await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await ws.send(json.dumps({"type": "input_audio_buffer.clear"}))
            await next_of(ws, "input_audio_buffer.cleared")
    await until(lambda: gateway.services.realtime.open_sessions == 0)
    async with gateway.client() as http:
        found = {key: (await http.get(f"/history/conversations/{id_}")).json() for key, id_ in ids.items()}
    assert "download_url" in found["true"]
    assert "download_url" not in found["false"]
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, path="/v1/realtime?model=x&store_audio=perhaps"):
            pass
    assert json.loads(refused.value.response.body)["error"]["param"] == "store_audio"


async def test_a_session_may_choose_that_responses_wait_for_the_end_of_the_turn(
    gateway: Running, address: str, scripted: ScriptedEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognize, recognised = gateway.services.engines.recognize, asyncio.Event()

    async def noted(*args: Any) -> Any:
        found = await recognize(*args)
        recognised.set()
        return found

    monkeypatch.setattr(gateway.services.engines, "recognize", noted)
    sound = (np.concatenate((np.zeros(8000, np.float32), say(SENTENCE), np.zeros(8000, np.float32))) * 32767).astype("<i2")
    for eager in (False, True):
        scripted.was_asked.clear()
        recognised.clear()
        async with opened(address, path=f"/v1/realtime?model=x&eager={str(eager).lower()}") as ws:
            turns = {"type": "server_vad", "silence_duration_ms": 5000}
            audio = {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": turns}}
            await ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "audio": audio}}))
            coded = base64.b64encode(converted(sound / np.float32(32768), 16_000, "audio/pcmu")).decode()
            await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": coded}))
            async with asyncio.timeout(60):
                await (scripted.was_asked if eager else recognised).wait()
            # The words are there, and the turn is not over yet.
            for _ in range(3):
                await asyncio.wait_for(await ws.ping(), 60)
            assert scripted.was_asked.is_set() is eager
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with opened(address, path="/v1/realtime?model=x&eager=perhaps"):
            pass
    assert json.loads(refused.value.response.body)["error"]["param"] == "eager"
