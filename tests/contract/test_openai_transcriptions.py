"""`/v1/audio/transcriptions`: forms in every spelling, every format, streams, and what becomes of clients that leave."""

from __future__ import annotations

import asyncio
import html
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pysubs2
import pytest
import webvtt

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.result_objects import lease_key, put_result
from schemas.domain import Claim, JobOptions, JobStatus, Progress, RecognizeOptions, Segment, Transcript, Word
from schemas.errors import NotFound
from schemas.settings import DropinSettings
from serve.services.model_names import ModelNames
from tests.contract.gateway import Running
from tests.contract.speaking import served
from tests.e2e import recordings
from tests.support import speech
from tests.support.lakehouse_kit import outcome

pytestmark = pytest.mark.contract

PATH = "/v1/audio/transcriptions"
WAV = recordings.wav(speech.noise(1.0, 0.1))
SAID = Transcript(
    text="SPEAKER_0: Good morning.\nSPEAKER_1: Morning & <b>all</b>.",
    segments=(
        Segment(0, 0, "Good morning.", 0.5, 1.5, (Word("Good", 0.5, 0.9, 0.5), Word("morning.", 1.0, 1.5))),
        Segment(1, 0, "Morning & <b>all</b>.", 1.75, 2.5, (Word("Morning & <b>all</b>.", 1.75, 2.5),)),
    ),
    events=(),
    language="en",
    num_speakers=2,
    num_chunks=1,
    audio_duration_secs=2.25,
    processing_secs=0.5,
    engine_revision="engines-1",
)
TEXT = "Good morning. Morning & <b>all</b>."


def form(*fields: tuple[str, str], wav: bytes = WAV, **more: str) -> dict[str, Any]:
    """A request's form with its file last, as the Python client sends it."""
    texts = [("model", "whisper-1"), *fields, *more.items()]
    return {"files": [*((name, (None, text)) for name, text in texts), ("file", ("talk.wav", wav, "audio/wav"))]}


async def ended(gateway: Running, claim: Claim, transcript: Transcript = SAID) -> None:
    key = lease_key(claim.job, claim.lease)
    await put_result(gateway.services.objects, key, transcript)
    revision = gateway.services.engine_revision
    result = outcome(claim.job, result_key=key, engine_revision=revision, audio_duration_secs=2.25)
    await gateway.ledger.jobs.complete(claim.job.id, claim.lease, result, transcript)


async def claimed(ledger: Ledger) -> Claim:
    claim = await ledger.jobs.claim("w", 10)
    assert claim is not None
    return claim


async def loaded(gateway: Running) -> None:
    """Wait for the recogniser; requests with options of it are refused while it loads."""
    await gateway.services.engines.check_options(RecognizeOptions(language="en"))


@asynccontextmanager
async def working(gateway: Running) -> AsyncIterator[list[Claim]]:
    """A worker that finds `SAID` in every recording; the claims it had."""
    claims: list[Claim] = []

    async def work() -> None:
        while True:
            claims.append(await claimed(gateway.ledger))
            await ended(gateway, claims[-1])

    task = asyncio.create_task(work())
    try:
        yield claims
    finally:
        task.cancel()
        await asyncio.wait([task])


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_every_format_has_the_words(gateway: Running, client: httpx.AsyncClient) -> None:
    async with working(gateway) as claims:
        found = {
            name: (await client.post(PATH, **form(response_format=name))).raise_for_status()
            for name in ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
        }
    assert found["json"].json() == {"text": TEXT, "usage": {"type": "duration", "seconds": 3}}
    assert found["text"].text == f"{TEXT}\n"
    verbose = found["verbose_json"].json()
    assert {k: verbose[k] for k in ("task", "language", "duration", "text")} == {
        "task": "transcribe", "language": "english", "duration": 2.25, "text": TEXT,
    }  # fmt: skip
    assert "words" not in verbose
    first = verbose["segments"][0]
    assert (first["id"], first["start"], first["end"], first["text"]) == (0, 0.5, 1.5, "Good morning.")
    assert first["avg_logprob"] == pytest.approx(-0.3466, abs=1e-3)
    assert {"seek", "tokens", "temperature", "compression_ratio", "no_speech_prob"} < set(first)
    diarized = found["diarized_json"].json()
    assert [(s["speaker"], s["text"], s["type"]) for s in diarized["segments"]] == [
        ("A", "Good morning.", "transcript.text.segment"),
        ("B", "Morning & <b>all</b>.", "transcript.text.segment"),
    ]
    subtitles = list(pysubs2.SSAFile.from_string(found["srt"].text))
    assert (subtitles[0].start, subtitles[0].end, subtitles[0].text) == (500, 1500, "Good morning.")
    assert "<b>" not in found["srt"].text
    captions = list(webvtt.from_buffer(io.StringIO(found["vtt"].text)))
    assert [html.unescape(caption.text) for caption in captions] == ["Good morning.", "Morning & <b>all</b>."]
    # The same bytes and options are heard once: the format is no option of the recognition.
    assert len(claims) == 1
    assert len({answer.headers["x-transcription-id"] for answer in found.values()}) == len(found)


@pytest.mark.parametrize("brackets", ["", "[]"])
async def test_lists_come_in_both_spellings(gateway: Running, client: httpx.AsyncClient, brackets: str) -> None:
    await loaded(gateway)
    fields = [(f"timestamp_granularities{brackets}", "word"), (f"timestamp_granularities{brackets}", "segment")]
    async with working(gateway) as claims:
        both = (await client.post(PATH, **form(*fields, response_format="verbose_json"))).json()
        word = (await client.post(PATH, **form(fields[0], response_format="verbose_json"))).json()
        sure = (await client.post(PATH, **form((f"include{brackets}", "logprobs")))).json()
        named = await client.post(PATH, **form((f"keywords{brackets}", "Marta"), (f"keywords{brackets}", "Ruiz")))
    assert [w["word"] for w in both["words"]] == ["Good", "morning.", "Morning & <b>all</b>."]
    assert len(both["segments"]) == 2
    assert "segments" not in word
    assert sure["logprobs"][:2] == [
        {"token": "Good", "bytes": list(b"Good"), "logprob": -0.6931},
        {"token": " morning.", "bytes": list(b" morning."), "logprob": 0.0},
    ]
    assert named.status_code == 200
    assert claims[-1].job.options.recognize.keyterms == ("Marta", "Ruiz")


async def test_all_other_fields_are_taken(gateway: Running, client: httpx.AsyncClient) -> None:
    await loaded(gateway)
    vad = [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.5")]
    async with working(gateway) as claims:
        for fields in (vad, [("chunking_strategy", "auto")], [("chunking_strategy", '{"type": "server_vad"}')]):
            further = {"language": "en-US", "prompt": " Hello. ", "audio_track": "1"}
            answer = await client.post(PATH, **form(*fields, temperature="0.0", **further))
            assert answer.status_code == 200, answer.text
    (claim,) = claims
    assert claim.job.options == JobOptions(recognize=RecognizeOptions("en", "Hello."), audio_track=1)
    assert claim.job.filename == "talk.wav"


async def test_a_prompt_of_any_length_keeps_its_end(gateway: Running, client: httpx.AsyncClient) -> None:
    await loaded(gateway)
    async with working(gateway) as claims:
        answer = await client.post(PATH, **form(prompt=" ".join(f"word{n}" for n in range(3000))))
    assert answer.status_code == 200, answer.text
    kept = claims[0].job.options.recognize.prompt
    assert kept.endswith("word2998 word2999")
    assert kept.startswith("word")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"response_format": "docx"}, "response_format"),
        ({"temperature": "1.5"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"language": "klingonese"}, "language"),
        ({"language": "xx"}, "language"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"timestamp_granularities[]": "letter", "response_format": "verbose_json"}, "timestamp_granularities.0"),
        ({"include[]": "logprobs", "response_format": "text"}, "include"),
        ({"audio_track": "-1"}, "audio_track"),
        ({"chunking_strategy": "always"}, "chunking_strategy"),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "7"}, "chunking_strategy"),
        ({"known_speaker_names[]": "Ada"}, "known_speaker_names"),
        ({"known_speaker_references[]": "data:,"}, "known_speaker_references"),
    ],
)
async def test_a_field_out_of_bounds_is_a_400_that_names_it(
    gateway: Running, client: httpx.AsyncClient, fields: dict[str, str], param: str
) -> None:
    await loaded(gateway)
    body = form()
    body["files"] = [part for part in body["files"] if part[0] not in fields] + [(k, (None, v)) for k, v in fields.items()]
    answer = await client.post(PATH, **body)
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"


async def test_bodies_that_are_no_recording_are_refused(gateway: Running, client: httpx.AsyncClient) -> None:
    assert (await client.post(PATH, json={"model": "whisper-1"})).json()["error"]["code"] == "no_form"
    without = await client.post(PATH, files={"model": (None, "whisper-1")})
    assert (without.status_code, without.json()["error"]["param"]) == (400, "file")
    text = await client.post(PATH, **form(wav=b"<html>this is no sound at all</html>"))
    assert (text.status_code, text.json()["error"]["code"], text.json()["error"]["param"]) == (400, "not_audio", "file")
    async with gateway.client(None) as stranger:
        assert (await stranger.post(PATH, **form())).status_code == 401
    wrong = await client.post(PATH, **form(("model", "tts-1")))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_recording_that_cannot_be_decoded_is_the_clients_error(gateway: Running, client: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(client.post(PATH, **form()))
    claim = await claimed(gateway.ledger)
    await gateway.ledger.jobs.fail(claim.job.id, claim.lease, "there is no sound in it", False)
    answer = await asyncio.wait_for(asking, 60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")
    assert "no sound" in answer.json()["error"]["message"]


async def test_any_model_name_is_served_and_the_answer_says_by_which(gateway: Running, client: httpx.AsyncClient) -> None:
    async with working(gateway):
        answer = await client.post(PATH, **form(("model", "some/other-model")))
    assert answer.status_code == 200
    assert answer.headers["x-fluxions-model"]


async def test_a_stream_of_a_short_recording_is_its_text_and_its_end(gateway: Running, client: httpx.AsyncClient) -> None:
    async with working(gateway):
        events = events_of(await client.post(PATH, **form(stream="true", response_format="diarized_json")))
    assert [event["type"] for event in events] == [
        "transcript.text.delta", "transcript.text.segment", "transcript.text.segment", "transcript.text.done",
    ]  # fmt: skip
    assert events[0]["delta"] == events[-1]["text"] == TEXT
    usage = events[-1]["usage"]
    assert usage["type"] == "tokens"
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]


async def test_a_long_recording_is_streamed_while_it_is_transcribed(gateway: Running, client: httpx.AsyncClient) -> None:
    pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    # httpx's transport over the application hands the body over when it is complete; a server does so as it comes.
    async with served(gateway) as address:
        headers = {"Authorization": client.headers["Authorization"]}

        async def read() -> None:
            async with (
                httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as web,
                web.stream("POST", PATH, **form(stream="true")) as answer,
            ):
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        pieces.put_nowait(json.loads(line.removeprefix("data: ")))

        reading = asyncio.create_task(read())
        claim = await claimed(gateway.ledger)
        blocks = [(Segment(0, 0, "Good morning.", 0.5, 1.5),)]
        await gateway.ledger.jobs.report(claim.job.id, claim.lease, Progress("transcribing", 0.5), 0, blocks)
        first = await asyncio.wait_for(pieces.get(), 60)
        assert first == {"type": "transcript.text.delta", "delta": "Good morning."}
        await ended(gateway, claim)
        await asyncio.wait_for(reading, 60)
    rest = [pieces.get_nowait() for _ in range(pieces.qsize())]
    assert [piece["type"] for piece in rest] == ["transcript.text.delta", "transcript.text.done"]
    assert first["delta"] + rest[0]["delta"] == rest[1]["text"] == TEXT


async def test_a_job_that_is_stopped_ends_the_stream_with_an_error(gateway: Running, client: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(client.post(PATH, **form(stream="true")))
    claim = await claimed(gateway.ledger)
    await client.post(f"/transcriptions/{claim.job.id}/cancel")
    answer = await asyncio.wait_for(asking, 60)
    last = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["code"] == "cancelled"


async def test_a_client_that_leaves_finds_the_job_in_history_and_a_repeated_request_joins_it(
    gateway: Running, client: httpx.AsyncClient
) -> None:
    async with served(gateway) as address:
        headers = {"Authorization": client.headers["Authorization"]}
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as web:
            leaving = asyncio.create_task(web.post(PATH, **form()))
            claim = await claimed(gateway.ledger)
            leaving.cancel()
            await asyncio.wait([leaving])
            again = asyncio.create_task(web.post(PATH, **form()))
            assert await gateway.ledger.jobs.claim("other", 0.2) is None, "the work is done once"
            await ended(gateway, claim)
            answer = await asyncio.wait_for(again, 60)
            assert answer.json()["text"] == TEXT
            assert answer.headers["x-transcription-id"] == str(claim.job.id)
            later = await web.post(PATH, **form())
            listed = (await web.get("/transcriptions")).json()
    assert later.json()["text"] == TEXT
    assert listed["total"] == 2
    assert [item["status"] for item in listed["transcriptions"]] == [JobStatus.COMPLETED] * 2
    assert listed["transcriptions"][0]["filename"] == "talk.wav"


async def test_a_translation_asks_for_english(gateway: Running, client: httpx.AsyncClient) -> None:
    await loaded(gateway)
    async with working(gateway) as claims:
        answer = await client.post("/v1/audio/translations", **form(response_format="verbose_json", audio_track="2"))
    assert answer.json()["task"] == "translate"
    assert answer.json()["language"] == "english"
    assert claims[0].job.options == JobOptions(recognize=RecognizeOptions(task="translate"), audio_track=2)


async def test_unknown_models_may_be_refused(gateway: Running) -> None:
    settings = gateway.services.settings.model_copy(
        update={"dropin": DropinSettings(unknown_models="refuse", model_aliases={"nova-3": "recognizer"})}
    )
    names = ModelNames(settings)
    assert names.serving("nova-3", "recognizer") == names.serving("whisper-1", "recognizer")
    with pytest.raises(NotFound, match="there is no model 'nova-9'"):
        names.serving("nova-9", "recognizer")


async def test_a_transcript_is_fetched_as_a_file(gateway: Running, client: httpx.AsyncClient) -> None:
    await client.post("/submit", content=WAV, params={"filename": 'a "talk" ü.wav'})
    assert (await client.get("/transcriptions/1", params={"format": "srt"})).status_code == 409
    await ended(gateway, await claimed(gateway.ledger))
    srt = await client.get(
        "/transcriptions/1", params={"format": "srt", "line_chars": 11, "lines": 2, "speakers": "always"}
    )
    assert srt.headers["content-type"].startswith("application/x-subrip")
    assert next(line.plaintext for line in pysubs2.SSAFile.from_string(srt.text)) == "[Speaker 0]\nGood"
    assert "filename*=UTF-8''a%20%22talk%22%20%C3%BC.srt" in srt.headers["content-disposition"]
    page = await client.get("/transcriptions/1", params={"format": "html"})
    assert "sandbox" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "<b>" not in page.text
    assert (await client.get("/transcriptions/1", params={"format": "docx"})).content.startswith(b"PK")
    assert (await client.get("/transcriptions/1")).json()["text"] == SAID.text
    for name, value in (("format", "exe"), ("line_chars", 2), ("lines", 0), ("chars_per_sec", "nan"), ("speakers", "no")):
        wrong = await client.get("/transcriptions/1", params={name: value})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, name)
