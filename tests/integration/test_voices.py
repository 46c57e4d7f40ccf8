"""Voices of one's own: from clip to sound, private, kept over a restart, gone when deleted."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.settings import ServerSettings, Settings, SpeechSettings, StorageSettings
from tests.contract.gateway import OTHER_KEY, Running, running
from tests.contract.speaking import assert_is_speech, pcm_of
from tests.support import speech

pytestmark = pytest.mark.integration

SAID = speech.SENTENCES[0]


def _wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE_HZ)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


@cache
def _clip() -> bytes:
    return _wav(0.8 * speech.say(SAID, *speech.LOW_VOICE))


def _settings(home: Path, *, require_consent: bool = False) -> Settings:
    return Settings(
        server=ServerSettings(home=home),
        storage=StorageSettings(fsync=False),
        speech=SpeechSettings(require_consent=require_consent, clone_search_secs=1),
    )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "home", _settings(tmp_path / "home")) as started:
        yield started


async def _clone(client: httpx.AsyncClient, clip: bytes, **fields: Any) -> httpx.Response:
    return await client.post("/vui/v1/voices", files={"audio": ("Ada L.wav", clip, "audio/wav")}, data=fields, timeout=120)


async def test_a_voice_is_made_used_by_its_owner_only_survives_a_restart_and_is_deleted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running(home, _settings(home)) as gateway, gateway.client() as mine, gateway.client(OTHER_KEY) as other:
        made = await _clone(mine, _clip())
        assert made.status_code == 200, made.text
        voice = made.json()
        assert voice["voice_id"].startswith("u-")
        assert voice["name"] == "Ada L"
        assert voice["frames"] == pytest.approx(voice["seconds"] * 12.5, abs=1)
        heard = set(voice["text"].split())
        assert len(heard & set(SAID.split())) >= 4, voice["text"]
        ask = {"voice": voice["voice_id"], "input": "Good morning, this is my voice.", "verify_chunks": False}
        assert_is_speech(pcm_of((await mine.post("/vui/v1/tts", json=ask)).content), 1, 5)
        assert (await other.post("/vui/v1/tts", json=ask)).status_code == 404
        assert (await other.get("/vui/v1/voices/mine")).json() == {"voices": []}
        refused = await other.post("/vui/v1/voices/delete", json={"voice_id": voice["voice_id"]})
        assert refused.status_code == 404
        await gateway.services.speech.drain(60)
    async with running(home, _settings(home)) as gateway, gateway.client() as mine:
        listed = (await mine.get("/vui/v1/voices/mine")).json()["voices"]
        assert listed == [{"voice_id": voice["voice_id"], "name": "Ada L"}]
        assert_is_speech(pcm_of((await mine.post("/vui/v1/tts", json=ask)).content), 1, 5)
        await gateway.services.speech.drain(60)
        kept = [key async for key, _ in gateway.services.objects.list("voices")]
        assert len(kept) == 1
        deleted = await mine.post("/vui/v1/voices/delete", json={"voice_id": voice["voice_id"]})
        assert deleted.json() == {"voice_id": voice["voice_id"], "deleted": True}
        assert (await mine.post("/vui/v1/tts", json=ask)).status_code == 404
        assert (await mine.get("/vui/v1/voices/mine")).json() == {"voices": []}
        assert [key async for key, _ in gateway.services.objects.list("voices")] == []


async def test_a_voice_has_a_preview_for_its_owner_that_is_in_no_history(gateway: Running) -> None:
    async with gateway.client() as mine, gateway.client(OTHER_KEY) as other, gateway.client(None) as anyone:
        made = await _clone(mine, _clip(), text=SAID)
        path = f"/vui/v1/voices/{made.json()['voice_id']}/preview"
        heard = await mine.get(path)
        assert (heard.status_code, heard.headers["content-type"]) == (200, "audio/wav"), heard.text
        assert heard.headers["cache-control"] == "no-store"
        assert_is_speech(pcm_of(heard.content), 1, 8)
        assert [(await client.get(path)).status_code for client in (other, anyone)] == [404, 401]
        await gateway.services.speech.drain(60)
        assert (await mine.get("/history/tts")).json()["total"] == 0
        await mine.post("/vui/v1/voices/delete", json={"voice_id": made.json()["voice_id"]})
        assert (await mine.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("clip", "word"),
    [
        (b"", "empty"),
        (b"this is no recording" * 50, "recording"),
        (_wav(speech.silence(4.0)), "silent"),
        (_wav(speech.noise(4.0, 0.1)), "voice"),
        (_wav(speech.noise(0.2, 0.1)), "s"),
    ],
    ids=["empty", "garbage", "silent", "noise", "short"],
)
async def test_a_clip_without_a_voice_is_400_in_words(gateway: Running, clip: bytes, word: str) -> None:
    async with gateway.client() as mine:
        response = await _clone(mine, clip, text="something")
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert word in error["message"]
    assert len(error["message"]) > 15
    assert error["param"] == "audio"
    async with gateway.client() as mine:
        sample = {"audio_sample": ("clip.wav", clip, "audio/wav")}
        theirs = (await mine.post("/v1/audio/voices", data={"name": "Ada"}, files=sample)).json()["error"]
    assert (theirs["param"], theirs["code"]) == ("audio_sample", error["code"])
    assert word in theirs["message"]


async def test_a_voice_with_an_unknown_consent_names_the_field(gateway: Running) -> None:
    async with gateway.client() as mine:
        sample = {"audio_sample": ("clip.wav", _wav(speech.silence(1.0)), "audio/wav")}
        form = {"name": "Ada", "consent": "cons_none"}
        unknown = await mine.post("/v1/audio/voices", data=form, files=sample)
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "consent")
        beyond = await mine.get("/v1/audio/voice_consents", params={"after": "cons_none"})
        assert (beyond.status_code, beyond.json()["error"]["param"]) == (404, "after")


async def test_a_form_without_a_clip_a_too_large_clip_and_a_missing_key_are_refused(gateway: Running) -> None:
    async with gateway.client() as mine, gateway.client(None) as anyone:
        missing = await mine.post("/vui/v1/voices", data={"text": "x"}, files={"other": b"x"})
        assert (missing.status_code, missing.json()["error"]["param"]) == (422, "audio")
        large = await _clone(mine, b"RIFF" + bytes(25 * 2**20))
        assert (large.status_code, large.json()["error"]["code"]) == (413, "payload_too_large")
        assert (await _clone(anyone, b"x")).status_code == 401
        assert (await mine.post("/vui/v1/voices/delete", json={"voice_id": "u-no-body"})).status_code == 404
        assert (await mine.post("/vui/v1/voices/delete", json={})).json()["error"]["param"] == "voice_id"


async def test_consent_is_stored_and_required_by_the_setting(tmp_path: Path) -> None:
    settings = _settings(tmp_path, require_consent=True)
    async with running(tmp_path, settings) as gateway, gateway.client() as mine:
        refused = await _clone(mine, _clip(), text=SAID)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "consent_required")
        files = {"audio": ("a.wav", _clip(), "audio/wav"), "consent": ("c.wav", _clip(), "audio/wav")}
        statement = "I agree that this server speaks in my voice."
        made = await mine.post(
            "/vui/v1/voices", files=files, data={"text": SAID, "name": "Me", "consent_statement": statement}, timeout=120
        )
        assert made.status_code == 200, made.text
        assert (made.json()["name"], made.json()["text"]) == ("Me", SAID)
        voice = await gateway.ledger.voices.get("default", made.json()["voice_id"])
        assert voice.consent_statement == statement
        assert voice.consent_key is not None
        assert_is_speech(np.frombuffer((await gateway.services.objects.get_bytes(voice.reference_key))[44:], "<i2"), 1, 8)
        assert (await gateway.services.objects.get_bytes(voice.consent_key))[:4] == b"RIFF"
