"""`fluxions archive` against the real gateway on loopback: what it prints, and the exit codes it ends with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from cli.main import main
from clients.archives import ArchiveClient
from schemas.archives import ArchiveStatus, EndedFile, FileFailure, NewArchive, NotedFile, SourceFile
from schemas.domain import Transcript
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.e2e import recordings
from tests.support.lakehouse_kit import transcript
from tests.support.processes import free_port

pytestmark = pytest.mark.unit

Told = tuple[int, str, str]
"""Exit code, stdout, stderr."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches these tests; HOME is empty."""
    for name in [n for n in os.environ if n.startswith(("FLUXIONS_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path / "home"))


@asynccontextmanager
async def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    port = free_port()
    async with running(home) as gateway:
        server = uvicorn.Server(uvicorn.Config(gateway.app, port=port, log_level="error", ws="none"))
        task = asyncio.create_task(server.serve())
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        monkeypatch.setenv("FLUXIONS_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("FLUXIONS_API_KEY", OPERATOR_KEY)
        try:
            yield gateway
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    async def told(*arguments: str) -> Told:
        code = await asyncio.to_thread(main, ["archive", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return told


async def worked_on(client: ArchiveClient, files: dict[str, tuple[bytes, Transcript | FileFailure]], folder: Path) -> int:
    """A completed run of these recordings and their outcomes; its id."""
    run = await client.open_archive(NewArchive("default", "calls of May", "/srv/calls"))
    sources = [
        SourceFile(f"/srv/calls/{name}", "1", f"/srv/calls/{name}", "default", name, hashlib.sha256(b).hexdigest(), len(b))
        for name, (b, _) in files.items()
    ]
    for source, (body, _) in zip(sources, files.values(), strict=True):
        (folder / source.filename).write_bytes(body)
        await client.upload(run.id, "default", source.sha256, folder / source.filename)
    begun = await client.begin(run.id, "tests", sources)
    jobs = [one.job for one in begun if one.job is not None]
    assert len(jobs) == len(files)
    outcomes = [EndedFile(job.id, job.lease, result) for job, (_, result) in zip(jobs, files.values(), strict=True)]
    assert not [one for one in await client.finish(run.id, outcomes) if one.error]
    failure = FileFailure("not_audio", "this is text, not a recording")
    await client.note(
        run.id, [NotedFile("/srv/calls/notes.txt", "/srv/calls/notes.txt", "default", "notes.txt", failure, True)]
    )
    return (await client.end_archive(run.id, ArchiveStatus.COMPLETED)).id


async def test_a_dry_run_says_what_is_to_be_done_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., Any]
) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    for number in range(3):
        (calls / f"{number}.wav").write_bytes(recordings.sentence(number, seed=number))
    (calls / "notes.txt").write_text("nothing to hear")
    async with served(tmp_path / "home", monkeypatch) as gateway:
        code, out, err = await tell("run", str(calls), "--dry-run", "--json")
        assert (code, "reading the source" in err) == (0, True)
        found = json.loads(out)
        assert (found["files"], found["left"], found["not_audio"], found["cached"], found["done"]) == (4, 3, 1, 0, 0)
        secs = sum(len(p.read_bytes()) - 44 for p in calls.glob("*.wav")) / 32_000
        assert found["hours"] == pytest.approx(secs / 3600, abs=1e-4)
        assert found["estimated_secs"] is None
        assert "notes.txt" in found["examples"][0]["where"]

        # What the account has had transcribed before costs nothing.
        body = (calls / "0.wav").read_bytes()
        heard = replace(transcript(), engine_revision=gateway.services.engine_revision)
        client = ArchiveClient(os.environ["FLUXIONS_URL"], OPERATOR_KEY)
        try:
            made = await worked_on(client, {"0.wav": (body, heard)}, tmp_path)
            code, out, _ = await tell("run", str(calls), "--dry-run", "--json")
            assert (code, json.loads(out)["cached"], json.loads(out)["left"]) == (0, 1, 2)
            assert [run.id for run in await client.archives()] == [made]  # A dry run makes none.
        finally:
            await client.close()
        code, out, _ = await tell("run", str(calls), "--dry-run")
        assert "answered by the cache" in out


async def test_runs_are_listed_shown_reported_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., Any]
) -> None:
    async with served(tmp_path / "home", monkeypatch):
        assert (await tell("status"))[0] == 1
        client = ArchiveClient(os.environ["FLUXIONS_URL"], OPERATOR_KEY)
        try:
            cut = FileFailure("truncated_audio", "the recording is cut off")
            files: dict[str, tuple[bytes, Transcript | FileFailure]] = {
                "good.wav": (recordings.sentence(0), transcript()),
                "cut.wav": (recordings.sentence(1), cut),
            }
            made = str(await worked_on(client, files, tmp_path))
            notes = await client.open_archive(NewArchive("default", "notes", "/srv/notes"))
            why = FileFailure("not_audio", "this is text, not a recording")
            await client.note(notes.id, [NotedFile("/srv/notes/a", "/srv/notes/a", "default", "a", why, True)])
            await client.end_archive(notes.id, ArchiveStatus.COMPLETED)
        finally:
            await client.close()
        code, out, _ = await tell("list", "--json")
        assert (code, [run["name"] for run in json.loads(out)]) == (0, ["notes", "calls of May"])
        assert "calls of May" in (await tell("list"))[1]
        code, out, err = await tell("report", str(notes.id))
        assert (code, "/srv/notes holds no recording; 1 files were passed over" in err) == (0, True)
        assert "is text, not a recording" in out
        assert "no recording" not in (await tell("report", made))[2]
        code, out, _ = await tell("status", made, "--json")
        counts = json.loads(out)["counts"]
        assert (counts["completed"], counts["failed"], counts["skipped"]) == (1, 1, 1)
        code, out, _ = await tell("report", made, "--files")
        assert code == 0
        assert "truncated_audio" in out
        assert "not_audio" in out
        assert "/srv/calls/notes.txt" in out
        code, out, _ = await tell("report", made, "--files", "--json")
        assert {f["reason"] for f in json.loads(out)["files"]} == {"truncated_audio", "not_audio"}
        code, out, _ = await tell("cancel", made)
        assert (code, out) == (0, f"archive {made} is completed\n")
        assert (await tell("report", "999"))[0] == 1
        code, out, _ = await tell("diff", made, "--json")
        assert (code, json.loads(out)["files"]) == (0, 0)


async def test_mistakes_are_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[..., Any]
) -> None:
    assert (await tell("run"))[0] == 2
    assert (await tell("run", "calls/", "--reprocess", "id > 3"))[0] == 2
    code, _, err = await tell("run", "--reprocess", "id > 3", "--account", "acme")
    assert (code, "account = " in err) == (2, True)
    assert (await tell("run", "x", "--min-speakers", "3", "--max-speakers", "2"))[0] == 2
    assert (await tell("status"))[0] == 3  # Nothing runs in HOME.
    async with served(tmp_path / "home", monkeypatch):
        code, _, err = await tell("run", str(tmp_path / "gone"), "--dry-run", "--json")
        assert (code, json.loads(err.splitlines()[-1])["error"]["code"]) == (1, "no_such_source")
        (tmp_path / "bad.csv").write_text("name\nx\n")
        code, _, err = await tell("run", str(tmp_path / "bad.csv"), "--dry-run")
        assert (code, "`url` or `path`" in err) == (1, True)
        monkeypatch.setenv("FLUXIONS_API_KEY", USER_KEY)
        assert (await tell("run", str(tmp_path), "--dry-run"))[0] == 4
