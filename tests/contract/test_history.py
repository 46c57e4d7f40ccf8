"""`/history` as the contract shows it: fields, the one envelope, filters, details, links, and what is not yours."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.contract.filled_history import NOON, conversation, render
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, Running
from tests.support.lakehouse_kit import new_job, transcript

pytestmark = pytest.mark.contract

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

FEED_TRANSCRIPTION = {
    "object", "id", "created_at", "cost_usd", "status", "filename", "audio_duration_secs", "audio_format", "language",
    "num_speakers", "num_segments", "warnings",
}  # fmt: skip
FEED_TTS = {"object", "id", "created_at", "cost_usd", "voice", "chars", "audio_secs", "text_start"}
FEED_CONVERSATION = {"object", "id", "title", "created_at", "cost_usd", "voice", "duration_secs", "turn_count"}
ENVELOPE = {"object", "page", "limit", "total", "has_more", "next_cursor", "data"}


async def listed(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == ENVELOPE
    assert body["object"] == "list"
    return body  # type: ignore[no-any-return]


async def test_the_feed_merges_all_types_newest_first_without_links(filled: Running, client: httpx.AsyncClient) -> None:
    body = await listed(client, "/history")
    assert (body["page"], body["limit"], body["total"], body["has_more"]) == (1, 20, 9, False)
    kinds = [item["object"] for item in body["data"]]
    assert sorted(kinds) == ["conversation"] * 2 + ["transcription"] * 2 + ["tts"] * 5
    fields = {"transcription": FEED_TRANSCRIPTION, "tts": FEED_TTS, "conversation": FEED_CONVERSATION}
    for item in body["data"]:
        assert set(item) == fields[item["object"]]
        assert MOMENT.fullmatch(item["created_at"])
    times = [item["created_at"] for item in body["data"]]
    assert times == sorted(times, reverse=True)
    assert (await listed(client, "/history", order="asc"))["data"] == body["data"][::-1]
    assert (await listed(client, "/history", type="tts, conversation"))["total"] == 7
    pages = [await listed(client, "/history", page=page, limit=4) for page in (1, 2, 3, 4)]
    assert [item for page in pages for item in page["data"]] == body["data"]
    assert [page["has_more"] for page in pages] == [True, True, False, False]


async def test_lists_show_the_fields_of_the_contract(filled: Running, client: httpx.AsyncClient) -> None:
    (transcription,) = (await listed(client, "/history/transcriptions", status="completed"))["data"]
    assert set(transcription) == FEED_TRANSCRIPTION
    assert (transcription["filename"], transcription["cost_usd"]) == ("interview.wav", 0.016667)
    (failed,) = (await listed(client, "/history/transcriptions", status="failed"))["data"]
    assert (failed["status"], failed["language"], failed["cost_usd"]) == ("failed", None, None)
    renders = (await listed(client, "/history/tts", voice="maeve.en-us"))["data"]
    assert [set(item) for item in renders] == [FEED_TTS | {"download_url"}] * 4
    assert (renders[0]["chars"], renders[0]["audio_secs"], renders[0]["cost_usd"]) == (842, 58.4, 0.0123)
    plain = (await listed(client, "/history/tts", include_download_url="false"))["data"]
    assert [set(item) for item in plain] == [FEED_TTS] * 5
    linked = (await listed(client, "/history/transcriptions", include_download_url="true"))["data"]
    assert all(item["download_url"].startswith("http") for item in linked)
    talks = (await listed(client, "/history/conversations", voice="maeve"))["data"]
    assert [item["id"] for item in talks] == ["sess_def", "sess_abc"]
    assert [set(item) for item in talks] == [FEED_CONVERSATION | {"started_at", "ended_at"}] * 2
    assert {item["title"] for item in talks} == {"turn 0 about the dentist"}
    assert talks[0]["ended_at"] == "2026-06-29T13:35:12.400Z"


WINDOWS = [
    ("2026-06-29T13:00:00Z", "2026-06-29T15:00:00Z", [3, 2, 1]),
    ("2026-06-29T15:00:00+02:00", None, [4, 3, 2, 1]),
    ("2026-06-29T13:00:00.001Z", "2026-06-29T14:59:59.999Z", [2]),
    (str(int(NOON.timestamp()) + 3600), f"{NOON.timestamp() + 7200:.3f}", [2, 1]),
    ("2026-06-29", "2026-06-29T12:00:00", [0]),
    ("2026-06-30", "2026-06-29", []),
]


async def test_since_and_until_are_inclusive(gateway: Running, client: httpx.AsyncClient) -> None:
    for hour in range(5):
        await gateway.ledger.records.add_renders([render(hour)])
    for since, until, hours in WINDOWS:
        body = await listed(client, "/history/tts", since=since, **({"until": until} if until else {}))
        times = [item["created_at"] for item in body["data"]]
        assert times == [f"2026-06-29T{12 + hour}:00:00.000Z" for hour in hours], (since, until)
        assert body["total"] == len(hours)
    unescaped = (await client.get("/history/tts?since=2026-06-29T15:00:00+02:00")).json()
    assert unescaped["total"] == 4


BAD = [
    ("/history?since=yesterday", "since"),
    ("/history?until=1e400", "until"),
    ("/history?since=1782734400000000", "since"),
    ("/history?since=0001-01-01", "since"),
    ("/history?type=tts,video", "type"),
    ("/history?limit=101", "limit"),
    ("/history?page=0", "page"),
    ("/history?order=newest", "order"),
    ("/history/transcriptions?status=deleted", "status"),
    ("/history/transcriptions/nine", "job_id"),
    ("/history/conversations/sess_a?turns_limit=2001", "turns_limit"),
    ("/history/search", "q"),
    (f"/history/search?q={'a' * 1001}", "q"),
    (f"/history/conversations/search?q={'+'.join(f'w{n}' for n in range(65))}", "q"),
]


async def test_a_bad_parameter_is_named(client: httpx.AsyncClient) -> None:
    for path, param in BAD:
        response = await client.get(path)
        assert response.status_code == 422, path
        assert response.json()["error"]["param"] == param
        assert param in response.json()["error"]["message"] or param == "q"


async def test_one_transcription_comes_with_its_audio_text_and_segments(filled: Running, client: httpx.AsyncClient) -> None:
    (item,) = (await listed(client, "/history/transcriptions", status="completed"))["data"]
    response = await client.get(f"/history/transcriptions/{item['id']}")
    detail = response.json()
    assert item.items() <= detail.items()
    audio, text, segments = [
        await client.get(detail[name], headers={"Authorization": ""})
        for name in ("download_url", "text_url", "segments_url")
    ]
    assert (audio.content, audio.headers["content-type"]) == (b"OggS", "audio/ogg")
    assert (text.text, text.headers["content-type"]) == ("SPEAKER_0: Good morning, dentists.", "text/plain; charset=utf-8")
    full = (await client.get(f"/transcriptions/{item['id']}?word_level_timestamps=true")).json()
    assert segments.json() == full["segments"]
    assert f"transcription-{item['id']}.txt" in text.headers["content-disposition"]
    tampered = await client.get(detail["text_url"].replace("filename=transcription", "filename=other"))
    assert tampered.status_code == 403


async def test_a_failed_transcription_says_why_and_has_no_result(filled: Running, client: httpx.AsyncClient) -> None:
    (item,) = (await listed(client, "/history/transcriptions", status="failed"))["data"]
    detail = (await client.get(f"/history/transcriptions/{item['id']}")).json()
    assert detail["error_code"] == "transcription_failed"
    assert (detail["error_message"], detail["text_url"], detail["segments_url"]) == ("The recording is silent.", None, None)


async def test_one_render_has_a_fresh_link(filled: Running, client: httpx.AsyncClient) -> None:
    (item, *_) = (await listed(client, "/history/tts"))["data"]
    detail = (await client.get(f"/history/tts/{item['id']}")).json()
    assert set(detail) == set(item) | {"text"}
    assert (await client.get(detail["download_url"])).content == b"OggS"


MAGIC = {"wav": b"RIFF", "mp3": (b"ID3", b"\xff"), "flac": b"fLaC", "opus": b"OggS"}


async def test_the_sound_of_a_render_is_given_in_each_format(gateway: Running, client: httpx.AsyncClient) -> None:
    asked = {"voice": "maeve", "input": "It is rendered once.", "verify_chunks": False}
    secs = float((await client.post("/vui/v1/tts", json=asked)).raise_for_status().headers["x-audio-seconds"])
    await gateway.services.speech.drain(60)
    (item,) = (await listed(client, "/history/tts"))["data"]
    path = f"/history/tts/{item['id']}/audio"
    for fmt, magic in MAGIC.items():
        sent = (await client.get(path, params={"format": fmt})).raise_for_status()
        assert sent.content.startswith(magic)
        assert sent.headers["content-disposition"] == f'attachment; filename="tts-{item["id"]}.{fmt}"'
    pcm = (await client.get(path, params={"format": "pcm"})).content
    assert len(pcm) / 48_000 == pytest.approx(secs, abs=0.1)
    assert (await client.get(path)).content == (await client.get(item["download_url"])).content
    assert (await client.get(path, params={"format": "m4a"})).status_code == 422
    assert (await listed(client, "/history/tts"))["total"] == 1
    async with gateway.client(OTHER_KEY) as stranger:
        assert (await stranger.get(path)).status_code == 404


async def test_a_render_without_stored_sound_has_none(gateway: Running, client: httpx.AsyncClient) -> None:
    (row_id,) = await gateway.ledger.records.add_renders([replace(render(0), audio_key=None)])
    refused = await client.get(f"/history/tts/{row_id}/audio")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_recording")


async def test_one_conversation_with_turns_and_tool_calls(filled: Running, client: httpx.AsyncClient) -> None:
    await filled.ledger.records.add_conversation(*conversation("sess_long", 3, turns=600))
    detail = (await client.get("/history/conversations/sess_long")).json()
    assert (len(detail["turns"]), detail["turn_count"]) == (500, 600)
    assert "tool_calls" not in detail
    assert [turn["text"] for turn in detail["turns"][:2]] == ["turn 0 about the dentist", "turn 1 about the dentist"]
    assert set(detail["turns"][0]) == {"object", "id", "session_id", "role", "text", "created_at"}
    asked = {"include_turns": "false", "include_tool_calls": "true"}
    brief = (await client.get("/history/conversations/sess_long", params=asked)).json()
    assert "turns" not in brief
    (call,) = brief["tool_calls"]
    assert call.pop("id") > 0
    assert call == {
        "object": "tool_call",
        "tool": "calendar",
        "args": {"range": "today"},
        "result": "2 events",
        "created_at": "2026-06-29T15:00:07.000Z",
    }
    everything = (await client.get("/history/conversations/sess_long?turns_limit=2000")).json()
    assert len(everything["turns"]) == 600


async def test_a_list_shows_the_start_of_a_rendered_text(gateway: Running, client: httpx.AsyncClient) -> None:
    texts = ("Good evening.", "The garden by the river opens at ten. " * 9)
    for text in texts:
        await gateway.ledger.records.add_renders([replace(render(0), text=text)])
    starts = [item["text_start"] for item in (await listed(client, "/history", order="asc"))["data"]]
    assert starts == ["Good evening.", texts[1][:140]]


async def test_nothing_of_it_is_anyone_elses(filled: Running) -> None:
    async with filled.client(OTHER_KEY) as other:
        for path in ("/history", "/history/transcriptions", "/history/tts", "/history/conversations"):
            assert (await listed(other, path))["total"] == 0
        for path in (
            "transcriptions/1",
            "tts/1",
            "conversations/sess_abc",
            "tts/999",
            "transcriptions/9223372036854775807",
        ):
            response = await other.get(f"/history/{path}")
            assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")
        assert (await other.get("/history/search?q=dentist")).json()["data"] == []
    async with filled.client(None) as nobody:
        assert (await nobody.get("/history")).status_code == 401


async def test_a_deleted_transcription_is_in_no_list_no_search_and_no_store(
    filled: Running, client: httpx.AsyncClient
) -> None:
    (item,) = (await listed(client, "/history/transcriptions", status="completed"))["data"]
    detail = (await client.get(f"/history/transcriptions/{item['id']}")).json()
    async with filled.client(OTHER_KEY) as other:
        assert (await other.delete(f"/transcriptions/{item['id']}")).status_code == 404
    response = await client.delete(f"/transcriptions/{item['id']}")
    assert response.json() == {"object": "transcription", "id": item["id"], "deleted": True}
    for path in (f"/history/transcriptions/{item['id']}", f"/transcriptions/{item['id']}"):
        assert (await client.get(path)).status_code == 404
    assert (await listed(client, "/history/transcriptions"))["total"] == 1
    assert {hit["object"] for hit in (await client.get("/history/search?q=dentist")).json()["data"]} == {
        "conversation_turn"
    }
    assert (await client.delete(f"/transcriptions/{item['id']}")).status_code == 404
    await filled.ledger.close()
    assert (await client.get(detail["text_url"])).status_code == 404
    assert (await client.get(detail["download_url"])).status_code == 404


async def test_a_transcription_under_way_is_in_history(gateway: Running, client: httpx.AsyncClient) -> None:
    job = await gateway.ledger.jobs.create(new_job("waiting", account="default"))
    (item,) = (await listed(client, "/history"))["data"]
    assert (item["id"], item["status"]) == (job.id, "submitted")


async def test_what_the_contract_shows_can_be_imported_and_is_shown_again(gateway: Running) -> None:
    line = {
        "object": "tts", "id": 123, "created_at": "2026-06-29T10:32:00Z", "cost_usd": 0.0123, "voice": "nina",
        "chars": 842, "audio_secs": 58.4, "download_url": "https://elsewhere.example/123.opus",
    }  # fmt: skip
    async with gateway.client(OPERATOR_KEY) as operator:
        response = await operator.post("/operator/import/tts", params={"account": "default"}, content=json.dumps(line))
    assert response.json() == {"imported": 1, "unchanged": 0, "failed": 0, "errors": []}
    async with gateway.client() as client:
        (item,) = (await listed(client, "/history/tts"))["data"]
    assert item == {
        "object": "tts", "id": 1, "created_at": "2026-06-29T10:32:00.000Z", "cost_usd": 0.0123, "voice": "nina",
        "chars": 842, "audio_secs": 58.4, "download_url": None, "text_start": "",
    }  # fmt: skip


async def test_a_result_that_comes_after_the_deletion_is_not_stored(gateway: Running, client: httpx.AsyncClient) -> None:
    job = await gateway.ledger.jobs.create(new_job("late", account="default"))
    claim = await gateway.ledger.jobs.claim("w", 5)
    assert claim is not None
    said = json.dumps(transcript("A late word.").to_json())

    async def complete() -> httpx.Response:
        async with gateway.client(OPERATOR_KEY) as operator:
            path, params = f"/operator/jobs/{job.id}/complete", {"lease": claim.lease}
            return await operator.post(path, params=params, content=said)

    objects = gateway.services.objects
    put, arrived, deleted = objects.put_many, asyncio.Event(), asyncio.Event()

    async def put_late(contents: Mapping[str, bytes]) -> None:
        arrived.set()
        await asyncio.wait_for(deleted.wait(), 60)
        await put(contents)

    objects.put_many = put_late  # type: ignore[method-assign]
    completing = asyncio.create_task(complete())
    await asyncio.wait_for(arrived.wait(), 60)
    assert (await client.delete(f"/transcriptions/{job.id}")).status_code == 200
    deleted.set()
    response = await asyncio.wait_for(completing, 60)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "lease_lost")
    assert [key async for key, _ in objects.list("results")] == []
