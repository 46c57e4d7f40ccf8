"""What a client tells the recogniser: refused by name where it cannot be done, stored, and part of the cache's key."""

from __future__ import annotations

import asyncio
import io
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from schemas.domain import JobOptions, RecognizeOptions
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running
from tests.e2e import recordings
from tests.integration.test_long_files import instance

pytestmark = pytest.mark.contract

REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"language": "english"}, "language", "pattern"),
    ({"language": "xx"}, "language", "en"),
    ({"language": ""}, "language", "pattern"),
    ({"task": "sing"}, "task", "translate"),
    ({"prompt": "x" * 2001}, "prompt", "2000"),
    ({"prompt": "Wörter " * 250}, "prompt", "223"),
    ({"keyterms": ["a"] * 101}, "keyterms", "100"),
    ({"keyterms": "x" * 101}, "keyterms", "100"),
    ({"keyterms": [" "]}, "keyterms", "pattern"),
    ({"keyterms": [f"Zyxwvut{n:03}" for n in range(100)]}, "keyterms", "223"),
    ({"strict": "perhaps"}, "strict", "bool"),
)


async def test_what_the_recogniser_cannot_do_is_refused_by_name(gateway: Running, client: httpx.AsyncClient) -> None:
    await gateway.services.engines.recognizer()  # It loads when it is first asked.
    for params, field, told in REFUSED:
        answer = await client.post("/submit", params=params, content=b"RIFF")
        assert answer.status_code == 422, (params, answer.text)
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert str(error["param"]).startswith(field), params
        assert told in error["message"], (params, error["message"])
    assert (await client.get("/transcriptions")).json()["total"] == 0


async def test_submit_options_reach_the_worker(gateway: Running, client: httpx.AsyncClient) -> None:
    params = {
        "language": "es", "prompt": " Dra. Ruiz. ", "keyterms": ["Marta Ruiz", "Ray, Serve"], "task": "translate",
        "strict": True,
    }  # fmt: skip
    await gateway.services.engines.recognizer()
    await client.post("/submit", params=params, content=recordings.sentence())
    claim = await gateway.ledger.jobs.claim("w", 0)
    assert claim is not None
    told = RecognizeOptions("es", "Dra. Ruiz.", ("Marta Ruiz", "Ray, Serve"), "translate")
    assert claim.job.options == JobOptions(recognize=told, strict=True)


async def test_an_archive_is_refused_what_the_recogniser_cannot_do(gateway: Running) -> None:
    await gateway.services.engines.recognizer()
    body: dict[str, Any] = {"source": "/calls", "options": {"recognize": {"language": "xx"}}}
    async with gateway.client(OPERATOR_KEY) as operator:
        answer = await operator.post("/operator/archives", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "language")
        body["options"] = {"recognize": {"language": "es", "keyterms": ["Marta"], "task": "translate"}, "strict": True}
        opened = (await operator.post("/operator/archives", json=body)).json()
    assert opened["options"]["recognize"] == {"language": "es", "prompt": "", "keyterms": ["Marta"], "task": "translate"}
    assert opened["options"]["strict"] is True


async def test_submit_options_take_effect_and_are_part_of_the_cache_key(tmp_path: Path) -> None:
    body, cut = recordings.sentence(), recordings.sentence()
    cut = cut[: len(cut) // 2]
    async with instance(tmp_path) as here:
        await here.gateway.services.engines.recognizer()
        jobs = [
            await here.submit(body),
            await here.submit(body, language="en", keyterms="harbour"),
            await here.submit(cut),
            await here.submit(cut, strict=True),
        ]
        with here.worker():
            plain, told, warned = [await here.completed(job) for job in jobs[:3]]
            refused = await here.final(jobs[3])
        assert (plain["language"], told["language"]) == ("en", "en")
        assert plain["warnings"] == told["warnings"] == []
        assert 0 < plain["engine_secs"] < plain["processing_time"]
        assert {turn["speaker"] for turn in plain["turns"]} == {segment["speaker"] for segment in plain["segments"]}

        (warning,) = warned["warnings"]
        assert warning["code"] == "truncated_audio"
        assert warning["at_secs"] == pytest.approx(warned["audio_duration"], abs=0.05)
        assert 0 < len(warned["text"].split()) < len(plain["text"].split())
        assert (refused["status"], refused["error_message"], refused["error_code"]) == (
            "failed",
            f"{warning['message']}; send the whole file, undamaged",
            "truncated_audio",
        )

        listed = {one["id"]: one for one in (await here.client.get("/transcriptions")).json()["transcriptions"]}
        assert listed[jobs[2]]["warnings"] == [warning]
        assert listed[jobs[0]]["warnings"] == []
        entry = (await here.client.get(f"/history/transcriptions/{jobs[2]}")).json()
        assert entry["warnings"] == [warning]
        assert entry["engine_secs"] == warned["engine_secs"]

        async def cached(content: bytes, **params: Any) -> bool:
            answer = await here.client.post("/submit", content=content, params=params)
            return bool(answer.raise_for_status().json()["cached"])

        assert await cached(body)
        assert await cached(body, language="en", keyterms="harbour")
        assert not await cached(body, language="en")
        assert not await cached(body, strict=True)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (bytes(4096), "format=s16le"),
        (np.random.default_rng(1).normal(0, 3000, 2048).astype("<i2").tobytes(), "format=s16le"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(4096), "send the bytes, not a form"),
        (b'{"url": "https://example.org/talk.mp3"}' + b" " * 4096, "Content-Type: application/json"),
    ],
)
async def test_what_is_no_recording_is_refused_from_its_first_bytes(gateway: Running, body: bytes, told: str) -> None:
    """The rest never comes: an answer that waits for it would be none."""
    answers: list[dict[str, Any]] = []
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    headers = [(b"authorization", USER_KEY.encode()), (b"content-length", b"100000000")]
    scope = {"type": "http", "method": "POST", "path": "/submit", "raw_path": b"/submit", "query_string": b"",
             "headers": headers, "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "root_path": "",
             "server": ("gateway", 80)}  # fmt: skip
    async with asyncio.timeout(60):
        await gateway.app(scope, receive, send)  # type: ignore[arg-type]
    assert answers[0]["status"] == 400
    assert told in answers[1]["body"].decode()


async def test_raw_samples_are_a_recording_once_their_format_is_given(gateway: Running, client: httpx.AsyncClient) -> None:
    await gateway.services.engines.recognizer()
    samples = np.arange(16_000, dtype="<i2")
    params: dict[str, Any] = {"format": "s16le", "rate": 16_000, "channels": 2}
    job = (await client.post("/submit", params=params, content=samples.tobytes())).raise_for_status().json()
    stored = (await client.get(job["original_audio_url"])).content
    with wave.open(io.BytesIO(stored)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 2, 2)
    assert stored.endswith(samples.tobytes())
    for wrong, param in (({"format": "s16le"}, "rate"), ({"rate": 8000}, "format"), ({"format": "mp3"}, "format")):
        answer = await client.post("/submit", params=wrong, content=samples.tobytes())
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
