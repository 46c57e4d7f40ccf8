"""`/v1/audio/speech`: what it refuses, aliases, and what is left of a render whose client leaves."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from audio.tempo import Tempo
from schemas.settings import DropinSettings
from serve.engines.tts.voices import find_voice
from serve.services import voice_names
from serve.services.voice_names import VoiceNames
from tests.contract.gateway import OTHER_KEY, Running

pytestmark = pytest.mark.contract

PATH = "/v1/audio/speech"
ASK = {"model": "tts-1", "input": "Good morning.", "voice": "alloy", "response_format": "pcm"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"model": ""}, "model"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": {"id": "u-123456789abc-00000000"}}, "voice"),
        ({"voice": {"name": "alloy"}}, "voice"),
        ({"speed": 0.2}, "speed"),
        ({"speed": 4.1}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"stream_format": "chunks"}, "stream_format"),
        ({"input": "word " * 30_000}, "input"),
    ],
)
async def test_a_field_out_of_bounds_is_a_400_that_names_it(
    client: httpx.AsyncClient, change: dict[str, Any], param: str
) -> None:
    answer = await client.post(PATH, json={**ASK, **change})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(param)


async def test_a_render_is_in_the_history_of_its_account(gateway: Running, client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json=ASK)
    assert answer.status_code == 200
    assert answer.headers["x-fluxions-model"]
    assert len(answer.content) > 24_000
    await gateway.services.speech.drain(60)
    listed = (await client.get("/history/tts")).json()
    async with gateway.client(OTHER_KEY) as stranger:
        assert (await stranger.get("/history/tts")).json()["total"] == 0
    assert listed["total"] == 1
    async with gateway.client(None) as anonymous:
        assert (await anonymous.post(PATH, json=ASK)).status_code == 401
        choices = (await anonymous.get("/v1/audio/voices")).json()["voices"]
    assert {"alloy", "cedar", "verse"} < {choice["id"] for choice in choices}


@pytest.mark.parametrize(("table", "engine"), [(voice_names._KOKORO, "kokoro"), (voice_names._FIVE, "espeak")])
def test_every_voice_of_theirs_has_one_here(table: dict[str, str], engine: str) -> None:
    names = set("alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split())  # noqa: SIM905
    assert set(table) == names
    assert all(find_voice(table[name], engine) for name in names)


async def test_aliases_of_the_settings_come_first(gateway: Running) -> None:
    settings = gateway.services.settings.model_copy(update={"dropin": DropinSettings(voice_aliases={"alloy": "harry"})})
    assert VoiceNames(settings).voice("alloy") == "harry"
    assert VoiceNames(settings).voice("echo") == "abraham"
    assert VoiceNames(settings).voice("harry") == "harry"


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.7, 8.0])
def test_tempo_changes_the_length_and_not_the_pitch(factor: float) -> None:
    time = np.arange(48_000) / 24_000
    tone = (8000 * np.sin(2 * np.pi * 220 * time)).astype(np.int16)
    tempo = Tempo(factor, 24_000)
    made = np.concatenate([*(tempo.feed(piece) for piece in np.array_split(tone, 7)), tempo.finish()])
    assert made.size / tone.size == pytest.approx(1 / factor, rel=0.1)
    spectrum = np.abs(np.fft.rfft(made.astype(np.float64) * np.hanning(made.size)))
    assert np.argmax(spectrum) * 24_000 / made.size == pytest.approx(220, abs=8)
