"""Redaction from submit to result: words, text, files, events, playback copy and the recording as it was sent."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from schemas.domain import SAMPLE_RATE_HZ
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support import speech

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

SAID = "please call me back, my phone number is four one five, five five five, oh one three two, and thank you very much"


def recording(seed: int) -> bytes:
    samples = speech.say(SAID)
    return recordings.wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-4, seed=seed)[: samples.size])


async def submitted(here: Platform, content: bytes, **params: Any) -> dict[str, Any]:
    answer = await here.client.post("/submit", content=content, params={"language": "en", "redact": "pii", **params})
    return dict(answer.raise_for_status().json())


async def fetched(here: Platform, url: str) -> Any:
    return await here.client.get(urlsplit(url)._replace(scheme="", netloc="").geturl())


def sound(content: bytes) -> np.ndarray:
    with av.open(io.BytesIO(content)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0].astype(np.float32)


def has_number(text: str) -> bool:
    digits = "".join(char for char in text if char.isdigit())
    return "5550132" in digits or "five five" in text


async def test_a_number_is_in_no_word_text_file_or_event(here: Platform) -> None:
    job = await submitted(here, recording(1))
    events = (await here.client.get(f"/transcriptions/{job['id']}/events")).text
    body = await here.completed(job["id"])
    plain = await here.client.post("/submit", content=recording(1), params={"language": "en"})
    assert has_number((await here.completed(plain.json()["id"]))["text"]), "the recogniser writes the number down"
    assert "[PHONE]" in body["text"]
    spoken = [word["word"] for segment in body["segments"] for word in segment["words"]]
    subtitles = (await here.client.get(f"/transcriptions/{job['id']}", params={"format": "srt"})).text
    for text in (body["text"], " ".join(spoken), events, subtitles, str(body)):
        assert not has_number(text)
    assert "thank" in body["text"].lower()
    assert job["original_audio_url"]


async def test_redacted_sound_is_silent_there_and_the_original_is_erased(here: Platform) -> None:
    content = recording(2)
    job = await submitted(here, content, redact_audio=True)
    assert (await fetched(here, job["original_audio_url"])).status_code == 200
    body = await here.completed(job["id"])
    (hidden,) = [w for s in body["segments"] for w in s["words"] if w["word"].startswith("[PHONE]")]
    copy = sound((await fetched(here, body["audio_url"])).content)
    rate = 48_000 if copy.size > 30_000 * hidden["end"] else SAMPLE_RATE_HZ
    inside = copy[round((hidden["start"] + 0.1) * rate) : round((hidden["end"] - 0.1) * rate)]
    before = copy[: round(hidden["start"] * rate)]
    assert float(np.abs(inside).max()) < 0.02 * float(np.abs(before).max())
    assert (await fetched(here, job["original_audio_url"])).status_code == 404
    listed = (await here.client.get("/transcriptions", params={"limit": 1})).json()["transcriptions"][0]
    assert (listed["id"], listed["original_audio_url"]) == (job["id"], None)
    # The same again is answered from the cache, and does not keep the recording either.
    again = await submitted(here, content, redact_audio=True)
    assert again["cached"]
    assert "original_audio_url" not in again


async def test_the_original_stays_where_it_is_to_be_kept_or_another_job_needs_it(here: Platform) -> None:
    content = recording(3)
    kept = await submitted(here, content, redact_audio=True, keep_original=True, redact_kinds=["phone"])
    await here.completed(kept["id"])
    dropped = await submitted(here, content, redact_audio=True)
    await here.completed(dropped["id"])
    assert (await fetched(here, kept["original_audio_url"])).content == content


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"redact": None, "redact_audio": True}, "redact_audio"),
        ({"redact": None, "redact_kinds": "phone"}, "redact_kinds"),
        ({"keep_original": True}, "keep_original"),
        ({"redact_kinds": "secrets"}, "redact_kinds"),
        ({"redact": "everything"}, "redact"),
    ],
)
async def test_options_without_effect_are_refused_by_name(here: Platform, params: dict[str, Any], param: str) -> None:
    asked = {name: value for name, value in {"redact": "pii", **params}.items() if value is not None}
    answer = await here.client.post("/submit", content=recording(1), params=asked)
    assert answer.status_code == 422
    assert param in str(answer.json()["error"])
