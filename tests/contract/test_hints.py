"""What a client knows of the number of speakers: refused where it makes no sense, and heeded from upload to transcript."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest

from audio.pcm import to_int16
from schemas.domain import SAMPLE_RATE_HZ
from tests.contract.gateway import Running
from tests.integration.test_long_files import instance
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, say, sequence

pytestmark = pytest.mark.contract


def wav_of_two_voices() -> bytes:
    samples, _ = sequence([say(SENTENCES[0], *LOW_VOICE), say(SENTENCES[1], *HIGH_VOICE)])
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(to_int16(samples).tobytes())
    return buffer.getvalue()


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"num_speakers": 0}, "num_speakers"),
    ({"num_speakers": 101}, "num_speakers"),
    ({"num_speakers": "two"}, "num_speakers"),
    ({"num_speakers": 1.5}, "num_speakers"),
    ({"min_speakers": -1}, "min_speakers"),
    ({"max_speakers": 0}, "max_speakers"),
    ({"max_speakers": 2**70}, "max_speakers"),
    ({"num_speakers": 2, "min_speakers": 2}, "num_speakers"),
    ({"num_speakers": 2, "max_speakers": 2}, "num_speakers"),
    ({"min_speakers": 3, "max_speakers": 2}, "min_speakers"),
)


async def test_what_no_number_meets_is_refused_by_name(client: httpx.AsyncClient) -> None:
    for path in ("/submit", "/akro/submit"):
        for hints, field in REFUSED:
            answer = await client.post(path, params=hints, content=b"RIFF")
            assert answer.status_code == 422, hints
            error = answer.json()["error"]
            assert (error["type"], error["param"]) == ("invalid_request_error", field), hints
            assert field in error["message"]
    assert (await client.get("/transcriptions")).json()["total"] == 0


async def test_what_is_known_reaches_the_worker(gateway: Running, client: httpx.AsyncClient) -> None:
    body = wav_of_two_voices()
    for hints, bounds in (
        ({}, (1, None)),
        ({"num_speakers": 2}, (2, 2)),
        ({"min_speakers": 3}, (3, None)),
        ({"max_speakers": 4}, (1, 4)),
        ({"min_speakers": 2, "max_speakers": 5}, (2, 5)),
    ):
        answer = await client.post("/submit", params=hints, content=body)
        claim = await gateway.ledger.jobs.claim("w", 0)
        assert claim is not None
        assert claim.job.id == answer.json()["id"]
        speakers = claim.job.options.speakers
        assert (speakers.least, speakers.most) == bounds


async def test_the_transcript_has_as_many_speakers_as_the_client_knows(tmp_path: Path) -> None:
    body = wav_of_two_voices()
    async with instance(tmp_path) as running:
        jobs = [await running.submit(body, **hints) for hints in ({"num_speakers": 1}, {"num_speakers": 2})]
        with running.worker():
            found = [await running.completed(job) for job in jobs]
        assert [one["num_speakers"] for one in found] == [1, 2]
        assert [len({s["speaker"] for s in one["segments"]}) for one in found] == [1, 2]
        # What is known of the speakers is part of what was asked: another number is another question.
        params: dict[str, Any] = {"num_speakers": 2}
        assert (await running.client.post("/submit", content=body, params=params)).json()["cached"] is True
        assert (await running.client.post("/submit", content=body, params={"max_speakers": 3})).json()["cached"] is False
