"""History from elsewhere: the API's own shapes come in whole, bad lines are named, and a second time changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import uvicorn

from cli import output
from cli.main import main
from lakehouse import imports
from schemas.settings import ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, OTHER_KEY, USER_KEY, Running, running
from tests.support.lakehouse_kit import until_projected

pytestmark = pytest.mark.integration

TRANSCRIPTION = {
    "id": 456,
    "status": "completed",
    "created_at": "2026-06-29T10:35:00Z",
    "updated_at": 1782729400.5,
    "filename": "interview.mp3",
    "audio_duration": 1800.0,
    "language": "en",
    "non_speech": True,
    "cost_usd": 0.10,
    "text": "SPEAKER_0: Did you see the xylophone?\nSPEAKER_1: Twice.",
    "segments": [
        {"speaker": "B", "text": "Twice.", "start": 3.0, "end": 3.5, "segment_idx": 0},
        {
            "speaker": "A",
            "text": "Did you see the xylophone?",
            "start": 0.5,
            "end": 2.0,
            "segment_idx": 0,
            "words": [{"word": "Did", "start": 0.5, "end": 0.7, "confidence": 0.9}],
        },
    ],
    "events": [{"tag": "breath", "start": 2.1, "end": 2.4, "confidence": 0.8, "speaker": "B"}],
    "audio_url": "https://elsewhere.example/456.opus",
}
CONVERSATION = {
    "object": "conversation",
    "id": "sess_abc123",
    "created_at": "2026-06-29T10:40:00Z",
    "voice": "maeve.en-us",
    "ended_at": "2026-06-29T10:45:12Z",
    "turns": [
        {
            "object": "conversation_turn",
            "id": 9001,
            "role": "user",
            "text": "Any news?",
            "created_at": "2026-06-29T10:40:05Z",
        },
        {"role": "assistant", "text": "Two meetings.", "created_at": "2026-06-29T10:40:08Z"},
    ],
    "tool_calls": [{"tool": "calendar", "args": {"range": "today"}, "created_at": "2026-06-29T10:40:07Z"}],
}
RENDER = {"id": 7, "created_at": 1782729120, "voice": "nina", "audio_secs": 1.5, "text": "Good evening.", "cost_usd": 0.01}


async def sent(
    gateway: Running, kind: str, lines: Sequence[Any], *, account: str = "default", key: str = OPERATOR_KEY
) -> Any:
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    async with gateway.client(key) as client:
        response = await client.post(f"/operator/import/{kind}", params={"account": account}, content=body)
    return response.json() if response.is_success else response.status_code


async def got(gateway: Running, path: str, **params: Any) -> Any:
    async with gateway.client() as client:
        return (await client.get(path, params=params or None)).json()


async def test_a_transcription_comes_in_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        assert (await sent(gateway, "transcriptions", [TRANSCRIPTION]))["imported"] == 1
        (item,) = (await got(gateway, "/history/transcriptions"))["data"]
        assert (item["created_at"], item["filename"]) == ("2026-06-29T10:35:00.000Z", "interview.mp3")
        assert (item["num_segments"], item["num_speakers"], item["cost_usd"]) == (2, 2, 0.1)
        detail = await got(gateway, f"/history/transcriptions/{item['id']}")
        assert (detail["download_url"], detail["updated_at"]) == (None, "2026-06-29T10:36:40.500Z")
        assert (await got(gateway, detail["segments_url"]))[0]["words"][0]["word"] == "Did"
        full = await got(gateway, f"/transcriptions/{item['id']}")
        assert full["text"] == TRANSCRIPTION["text"]
        assert [(s["speaker"], s["start"]) for s in full["segments"]] == [("0", 0.5), ("1", 3.0)]
        assert full["events"][0]["speaker"] == "1"
        assert (await got(gateway, "/transcriptions"))["total"] == 1
        await until_projected(gateway.ledger)
        (hit,) = (await got(gateway, "/history/search", q="xylophones"))["data"]
        assert (hit["object"], hit["id"], hit["start_secs"]) == ("transcription", item["id"], 0.5)


async def test_a_conversation_comes_in_with_turns_and_tool_calls(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        assert (await sent(gateway, "conversations", [CONVERSATION]))["imported"] == 1
        detail = await got(gateway, "/history/conversations/sess_abc123", include_tool_calls=True)
        assert (detail["started_at"], detail["duration_secs"], detail["turn_count"]) == (
            "2026-06-29T10:40:00.000Z",
            312.0,
            2,
        )
        assert [turn["text"] for turn in detail["turns"]] == ["Any news?", "Two meetings."]
        assert detail["tool_calls"][0]["args"] == {"range": "today"}
        assert (await got(gateway, "/history/conversations", voice="maeve"))["total"] == 1


async def test_bad_lines_are_named_and_the_rest_is_imported(tmp_path: Path) -> None:
    lines = [
        RENDER,
        "{not json",
        "",
        "[1]",
        {**RENDER, "id": 8, "audio_secs": -1},
        {**RENDER, "id": 9, "created_at": "last week"},
        {**RENDER, "id": 10, "object": "transcription"},
        {key: value for key, value in RENDER.items() if key != "voice"},
        {**RENDER, "id": 11},
    ]
    async with running(tmp_path) as gateway:
        report = await sent(gateway, "tts", lines)
        assert (report["imported"], report["failed"]) == (2, 6)
        assert [error["line"] for error in report["errors"]] == [2, 4, 5, 6, 7, 8]
        words = ("not JSON", "object", "audio_secs", "created_at", "object", "voice")
        for error, word in zip(report["errors"], words, strict=True):
            assert word in error["message"]
        assert (await got(gateway, "/history/tts"))["total"] == 2


async def test_times_that_cannot_be_are_refused_by_line_and_a_mark_in_front_is_passed_over(tmp_path: Path) -> None:
    def timed(**segment: Any) -> dict[str, Any]:
        return {**TRANSCRIPTION, "id": None, "audio_duration_secs": 10.0, "segments": [{"text": "x", **segment}]}

    lines = [
        json.dumps(timed(start=1.0, end=9.9)).encode(),
        json.dumps(timed(start=3.0, end=2.0)).encode(),
        json.dumps(timed(start=1.0, end=500.0)).encode(),
        json.dumps(timed(start=1.0, end=2.0)).replace("2.0", "NaN").encode(),
        json.dumps(timed(start=1.0, end=2.0, words=[{"word": "x", "start": 2.0, "end": 1.0}])).encode(),
        json.dumps({**timed(start=1, end=2), "events": [{"tag": "breath", "start": 1, "end": 99}]}).encode(),
    ]
    async with running(tmp_path) as gateway, gateway.client(OPERATOR_KEY) as operator:
        answer = await operator.post(
            "/operator/import/transcriptions?account=default", content=b"\xef\xbb\xbf" + b"\n".join(lines)
        )
        report = answer.raise_for_status().json()
    assert (report["imported"], report["failed"]) == (1, 5)
    assert [error["line"] for error in report["errors"]] == [2, 3, 4, 5, 6]
    told = ("end 2 is before start 3", "segments.0.end 500 is beyond", "not JSON", "words.0", "events.0.end 99 is beyond")
    for error, words in zip(report["errors"], told, strict=True):
        assert words in error["message"]


async def test_importing_twice_changes_nothing_over_restarts_too(tmp_path: Path) -> None:
    nameless = {key: value for key, value in RENDER.items() if key != "id"}
    files: dict[str, list[Any]] = {
        "tts": [RENDER, nameless, {**nameless, "text": "Another."}],
        "transcriptions": [TRANSCRIPTION, {**TRANSCRIPTION, "id": 457, "status": "failed", "error_message": "silent"}],
        "conversations": [CONVERSATION, CONVERSATION],
    }
    totals: list[Any] = []
    for _ in range(2):
        async with running(tmp_path) as gateway:
            for _ in range(2):
                reports = {kind: await sent(gateway, kind, lines) for kind, lines in files.items()}
                counts = {kind: (report["imported"], report["unchanged"]) for kind, report in reports.items()}
                if totals:
                    assert counts == {kind: (0, len(lines)) for kind, lines in files.items()}
                else:
                    assert counts == {"tts": (3, 0), "transcriptions": (2, 0), "conversations": (1, 1)}
                totals.append(await got(gateway, "/history", limit=100))
            assert (await sent(gateway, "tts", [RENDER], account="other"))["imported"] == 1 or len(totals) > 2
    assert all(total == totals[0] for total in totals)
    assert totals[0]["total"] == 6


async def test_only_operators_import(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        assert await sent(gateway, "tts", [RENDER], key=OTHER_KEY) == 403
        assert await sent(gateway, "keys", [RENDER]) == 422
        assert await sent(gateway, "tts", [RENDER], account="../eve") == 422


def test_an_identity_is_the_lines_own_id_and_time_or_its_content() -> None:
    def identity(line: dict[str, Any]) -> str:
        return imports.parse_line("tts", json.dumps(line).encode())[1]

    assert identity(RENDER) == identity({**RENDER, "text": "edited", "download_url": "x"})
    assert identity(RENDER) != identity({**RENDER, "id": 8})
    assert identity(RENDER) != identity({**RENDER, "created_at": 1782729121})
    nameless = {key: value for key, value in RENDER.items() if key != "id"}
    assert identity(nameless) != identity({**nameless, "text": "edited"})
    assert identity(nameless) == identity(dict(reversed(nameless.items())))


@pytest.fixture
async def served(tmp_path: Path, unused_tcp_port: int) -> Any:
    """The gateway behind a real server on loopback, for the command line; gives its URL."""
    settings = Settings(server=ServerSettings(home=tmp_path, port=unused_tcp_port), storage=StorageSettings(fsync=False))
    async with running(tmp_path, settings) as gateway:
        config = uvicorn.Config(gateway.app, port=unused_tcp_port, log_level="error", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as client:
            async with asyncio.timeout(60):
                while not server.started:  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.01)
            await client.get(f"{settings.server.url}/health")
        yield settings.server.url
        server.should_exit = True
        await serving


async def test_the_command_line_imports_lists_and_searches(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.import_history.BATCH_LINES", 2)
    file = tmp_path / "calls.jsonl"
    lines = [json.dumps(CONVERSATION), "oops", json.dumps({**CONVERSATION, "id": "sess_2"}), "[]"]
    file.write_text("\n".join(lines))

    async def run(*arguments: str, key: str = USER_KEY) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*arguments, "--url", served, "--key", key])
        return code, *capsys.readouterr()

    code, out, err = await run("import", "conversations", str(file), "--account", "default", key=OPERATOR_KEY)
    assert (code, out) == (output.FAILED, "2 imported, 0 there already, 2 bad\n")
    assert "line 2: not JSON" in err
    assert "line 4: not a JSON object" in err
    code, out, _ = await run("import", "conversations", str(file), "--account", "default", "--json", key=OPERATOR_KEY)
    assert json.loads(out)["unchanged"] == 2
    code, out, err = await run("history", "conversations")
    assert code == output.OK
    assert "sess_2" in out
    assert "2 of 2" in err
    code, out, _ = await run("history", "--json", "--limit", "1")
    assert json.loads(out)["has_more"] is True
    code, out, _ = await run("search", "meeting")
    assert "Two [meetings]." in out
    assert (await run("history", "tts", "--status", "failed"))[0] == click.UsageError.exit_code
    assert (await run("history", "--since", "soon"))[0] == output.FAILED
