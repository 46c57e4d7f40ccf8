"""What an engine without them answers to Kokoro's voices and to a speed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from schemas.settings import EngineSettings
from tests.contract.gateway import quick_settings, running
from tests.contract.speaking import MAEVE
from tests.support import synthesizers

pytestmark = pytest.mark.contract


async def test_a_voice_of_kokoro_is_a_404_that_says_so(client: httpx.AsyncClient) -> None:
    response = await client.post("/vui/v1/tts", json={"voice": "siwis", "input": "Bonjour."})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "voice_of_another_engine", "voice")
    assert "kokoro" in error["message"]


async def test_espeak_heeds_speed(client: httpx.AsyncClient) -> None:
    ask = {"voice": MAEVE, "input": "Good morning to you all.", "verify_chunks": False}
    usual, fast = [len((await client.post("/vui/v1/tts", json={**ask, "speed": speed})).content) for speed in (1.0, 1.5)]
    assert fast == pytest.approx(usual / 1.5, rel=0.15)


async def test_an_engine_of_one_pace_refuses_a_speed(tmp_path: Path) -> None:
    engines = EngineSettings(tts_engine="csm", tts_model=str(synthesizers.tiny_csm()), device="cpu")
    settings = quick_settings(tmp_path).model_copy(update={"engines": engines})
    async with running(tmp_path, settings) as gateway, gateway.client() as client:
        response = await client.post("/vui/v1/tts", json={"voice": MAEVE, "input": "Yes.", "speed": 1.5})
    assert (response.status_code, response.json()["error"]["param"]) == (422, "speed")
