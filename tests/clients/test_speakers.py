"""Known speakers: added with a clip, named in transcripts, and gone when they are deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from serve.services.speaker_registry import SpeakerClip, SpeakerRegistry
from tests.contract.gateway import OTHER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support import speech
from tests.support.speech import SENTENCES

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

CLIP = recordings.wav(speech.say(SENTENCES[5], *speech.HIGH_VOICE))


@pytest_asyncio.fixture(loop_scope="session")
async def talk(here: Platform) -> AsyncIterator[str]:
    """The path of a completed transcription of two speakers."""
    answer = await here.client.post("/submit", content=recordings.conversation())
    job_id = answer.raise_for_status().json()["id"]
    await here.completed(job_id)
    yield f"/transcriptions/{job_id}"


async def add(here: Platform, name: str = "Ada", clip: bytes = CLIP, **fields: Any) -> httpx.Response:
    return await here.client.post("/v1/speakers", data={"name": name, **fields}, files={"audio": ("clip.wav", clip)})


async def stored(here: Platform) -> list[str]:
    objects = here.gateway.services.objects
    return [key async for key, _ in objects.list("voices") if "spk_" in key]


async def test_a_known_speaker_is_named_until_it_is_deleted(here: Platform, talk: str) -> None:
    made = (await add(here, consent_statement="I agree.")).raise_for_status().json()
    assert (made["name"], made["consent_statement"]) == ("Ada", "I agree.")
    assert (await here.client.get(f"/v1/speakers/{made['id']}")).json() == made
    assert [one["id"] for one in (await here.client.get("/v1/speakers")).json()["speakers"]] == [made["id"]]

    unnamed = (await here.client.get(talk)).json()
    assert "Ada" not in str(unnamed)
    named = (await here.client.get(talk, params={"name_speakers": True})).json()
    (number,) = named["speaker_names"]
    assert named["speaker_names"] == {number: "Ada"}
    for segment in named["segments"]:
        assert segment.get("speaker_name") == ("Ada" if segment["speaker"] == number else None)
    assert named["text"] == unnamed["text"].replace(f"SPEAKER_{number}:", "Ada:")
    captions = (await here.client.get(talk, params={"name_speakers": True, "format": "vtt"})).text
    assert "<v Ada>" in captions
    assert "<v Speaker" in captions

    asked = {"model": "x", "response_format": "diarized_json", "known_speaker_names[]": "Ada"}
    files = {"file": ("talk.wav", recordings.conversation())}
    diarized = (await here.client.post("/v1/audio/transcriptions", data=asked, files=files)).json()
    assert {segment["speaker"] for segment in diarized["segments"]} == {"A", "Ada"}

    assert await stored(here)
    assert (await here.client.delete(f"/v1/speakers/{made['id']}")).json()["deleted"] is True
    assert await stored(here) == []
    assert (await here.client.get(talk, params={"name_speakers": True})).json()["speaker_names"] == {}
    assert (await here.client.delete(f"/v1/speakers/{made['id']}")).status_code == 404
    asked_again = await here.client.post("/v1/audio/transcriptions", data=asked, files=files)
    assert asked_again.json()["error"]["param"] == "known_speaker_names"


async def test_speakers_are_private_to_their_account(here: Platform, talk: str) -> None:
    made = (await add(here, "Eve")).json()
    other = {"Authorization": OTHER_KEY}
    assert (await here.client.get("/v1/speakers", headers=other)).json() == {"speakers": []}
    for method in ("GET", "DELETE"):
        answer = await here.client.request(method, f"/v1/speakers/{made['id']}", headers=other)
        assert answer.json()["error"]["code"] == "speaker_not_found"
    assert (await here.client.delete(f"/v1/speakers/{made['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("clip", "status", "why"),
    [
        (b"no sound" * 100, 400, "audio: "),
        (recordings.wav(speech.say("yes")), 422, "s long"),
        (recordings.conversation(), 422, "two people"),
    ],
    ids=["no recording", "short", "two people"],
)
async def test_a_clip_that_cannot_be_used_is_refused(here: Platform, clip: bytes, status: int, why: str) -> None:
    answer = await add(here, clip=clip)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == "audio"
    assert why in answer.json()["error"]["message"]
    assert await stored(here) == []


async def test_a_name_is_given_once(here: Platform) -> None:
    made = (await add(here, "Bo")).json()
    assert (await add(here, "Bo")).json()["error"]["code"] == "speaker_exists"
    assert (await add(here, " ")).json()["error"]["param"] == "name"
    await here.client.delete(f"/v1/speakers/{made['id']}")


async def test_where_consent_is_required_a_speaker_needs_it(here: Platform, tmp_path: Any) -> None:
    services = here.gateway.services
    registry = SpeakerRegistry(services.ledger.speakers, services.objects, services.known_speakers, require_consent=True)
    path = tmp_path / "clip.wav"
    path.write_bytes(CLIP)
    with pytest.raises(Exception, match="consent: "):
        await registry.add("default", SpeakerClip("Cy", path))
    with pytest.raises(Exception, match="consent_statement: "):
        await registry.add("default", SpeakerClip("Cy", path, consent=path))
    made = await registry.add("default", SpeakerClip("Cy", path, path, "I agree."))
    assert made.consent_key is not None
    assert len(await stored(here)) == 2
    await registry.delete("default", made.id)
    assert await stored(here) == []
