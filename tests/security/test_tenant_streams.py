"""Another account's ids over sockets, event streams and signed links: the same answers as for ids that do not exist."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from schemas.records import Voice
from tests.contract.gateway import OTHER_KEY, USER_KEY, Running, running
from tests.contract.speaking import served
from tests.integration.test_decode import wav

pytestmark = pytest.mark.security

OWNED, ABSENT = "u-ada-1", "u-eve-7"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway whose first account has a cloned voice and a transcription."""
    async with running(tmp_path / "home") as started:
        await started.services.objects.put_bytes("voices/default/1.wav", wav(bytes(96_000), rate_hz=24_000))
        voice = Voice(OWNED, "default", "mine", "words", 50, 4.0, "voices/default/1.wav", {}, "espeak-1")
        await started.ledger.voices.put(voice)
        async with started.client(USER_KEY) as owner:
            assert (await owner.post("/submit", content=wav(bytes(32_000), rate_hz=16_000))).json()["id"] == 1
        yield started


async def test_the_speech_socket_does_not_tell_another_s_voice_from_none(gateway: Running) -> None:
    async with served(gateway) as address, connect(f"ws://{address}/vui/v1/tts/ws") as socket:

        async def answer(voice: str, token: str) -> dict[str, Any]:
            ask = {"type": "speak", "voice": voice, "input": "hello", "verify_chunks": False, "token": token}
            await socket.send(json.dumps(ask))
            said: dict[str, Any] = json.loads(await socket.recv())
            return said

        other, absent = [await answer(voice, OTHER_KEY) for voice in (OWNED, ABSENT)]
        assert other == absent
        assert (other["type"], other["code"]) == ("error", "unknown_voice")
        # Its owner gets another answer: the voice is found, and was made for another engine.
        assert (await answer(OWNED, USER_KEY))["code"] != "unknown_voice"


async def test_a_realtime_session_does_not_tell_another_s_voice_from_none(gateway: Running) -> None:
    async with served(gateway) as address:

        async def answer(voice: str, key: str) -> dict[str, Any]:
            headers = {"Authorization": key}
            async with connect(f"ws://{address}/v1/realtime?model=test", additional_headers=headers) as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"
                session = {"type": "realtime", "audio": {"output": {"voice": voice}}}
                await socket.send(json.dumps({"type": "session.update", "session": session}))
                event: dict[str, Any] = json.loads(await socket.recv())
                assert event["type"] == "error", event
                error: dict[str, Any] = event["error"]
                return error

        other, absent = [await answer(voice, OTHER_KEY) for voice in (OWNED, ABSENT)]
        assert {**other, "event_id": ""} == {**absent, "event_id": ""}
        assert (await answer(OWNED, USER_KEY))["message"] != other["message"]


async def test_a_stream_of_events_is_its_owner_s(gateway: Running) -> None:
    async with gateway.client(OTHER_KEY) as stranger, gateway.client(None) as nobody:
        told = []
        for job_id in (1, 77):
            response = await stranger.get(f"/transcriptions/{job_id}/events")
            assert response.status_code == 404
            told.append(re.sub(rf"\b{job_id}\b", "ID", response.json()["error"]["message"]))
            assert (await nobody.get(f"/transcriptions/{job_id}/events")).status_code == 401
        assert told[0] == told[1]


async def test_a_link_opens_its_own_object_only(gateway: Running) -> None:
    async with gateway.client(OTHER_KEY) as other, gateway.client(USER_KEY) as owner, gateway.client(None) as nobody:
        sent = await other.post("/submit", content=wav(bytes([1, 0]) * 16_000, rate_hz=16_000))
        links = [
            httpx.URL((await client.get("/transcriptions")).json()["transcriptions"][0]["original_audio_url"])
            for client in (owner, other)
        ]
        assert sent.status_code == 200
        mine, theirs = links
        assert (await nobody.get(mine.raw_path.decode())).status_code == 200
        # The signature of one's own link, on another's object; and without any, by the key of an account.
        mixed = mine.copy_with(query=theirs.query)
        assert (await nobody.get(mixed.raw_path.decode())).status_code == 403
        bare = mine.copy_with(query=None)
        assert (await other.get(bare.raw_path.decode())).status_code in (403, 422)
        missing = mine.copy_with(path=mine.path[:-4] + "0000", query=theirs.query)
        assert (await nobody.get(missing.raw_path.decode())).status_code == 403
