"""`fluxions transcribe` with names as disks have them: brackets, foreign bytes, long ones, folders of all kinds."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from cli.output import print_table
from cli.transcribe_batch import TranscribeBatch, TranscribeOptions
from cli.transcribe_inputs import FileSource
from clients.public import Target
from schemas.errors import FluxionsError
from tests.support.api_server import KEY, Server, transcript_of
from tests.support.media import encode, staircase
from tests.unit.test_cli import environment, here, server

__all__ = ["environment", "here", "server"]
pytestmark = pytest.mark.unit

LATIN = os.fsdecode(b"caf\xe9.wav")


@pytest.mark.parametrize("name", ["talk [dQw4w9WgXcQ].wav", "[/b/].wav", "[red].wav", "[/].wav"])
def test_brackets_are_no_markup_on_a_terminal(here: Server, tmp_path: Path, name: str) -> None:
    path = tmp_path / name.replace("/", "\u2044" if name == "[/b/].wav" else "∕")
    path.write_bytes(b"one")
    ours, theirs = pty.openpty()
    try:
        # The label has the folder's name, in which a slash is real.
        folder = tmp_path / "[" / "b"
        folder.mkdir(parents=True)
        (folder / "].wav").write_bytes(b"two")
        argv = [sys.executable, "-m", "cli.main", "transcribe", str(path), str(folder / "].wav")]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert transcript_of(b"one") in done.stdout.decode()
    assert transcript_of(b"two") in done.stdout.decode()


def test_a_name_of_foreign_bytes_is_sent_shown_and_written(
    here: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LATIN).write_bytes(b"one")
    assert main(["transcribe", str(tmp_path / LATIN), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["source"].endswith("café.wav")
    assert here.uploads[0]["filename"] == "café.wav"
    assert main(["transcribe", str(tmp_path / LATIN), "-o", "txt"]) == 0
    assert (tmp_path / os.fsdecode(b"caf\xe9.txt")).exists()
    assert "café.txt" in capfd.readouterr().err


def test_a_name_of_251_bytes_gets_its_files(here: Server, tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 123 + "x.wav")
    assert len(os.fsencode(path.name)) == 251
    path.write_bytes(b"one")
    (path.with_suffix(".mp3")).write_bytes(b"two")
    assert main(["transcribe", str(path), str(path.with_suffix(".mp3")), "-o", "json"]) == 0
    assert len([one for one in tmp_path.iterdir() if one.suffix == ".json"]) == 2


def test_a_folder_is_searched_by_bytes_and_what_is_passed_over_is_said(
    here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    sound = staircase(1, 8_000)
    encode(folder / "note.3gp", "3gp", "libopencore_amrnb", 8_000, sound)
    encode(folder / "no ending", "mpegts", "mp2", 48_000, staircase(1, 48_000))
    (folder / "notes.txt").write_text("hello")
    (folder / "cover.mp3").write_bytes(b"\x89PNG" + bytes(50))
    (folder / "empty.wav").touch()
    assert main(["transcribe", str(folder)]) == 0
    assert {upload["filename"] for upload in here.uploads} == {"note.3gp", "no ending"}
    told = capsys.readouterr().err
    assert "no recordings: 3" in told
    assert f"{folder / 'notes.txt'}: text" in told
    assert f"{folder / 'cover.mp3'}: a PNG image" in told
    assert f"{folder / 'empty.wav'}: empty" in told


def test_a_download_is_named_by_the_server_that_sends_it(
    here: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")
    assert main(["transcribe", f"{here.url}/redirected"]) == 0
    assert main(["transcribe", f"{here.url}/named"]) == 0
    assert [upload["filename"] for upload in here.uploads] == ["talk.mp3", "café.mp3"]


def test_a_thread_that_fails_is_the_failure_of_its_own_recording(here: Server, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"two")
    broken = FileSource(tmp_path / "a.wav", None)  # type: ignore[arg-type]
    object.__setattr__(broken, "path", None)
    whole = FileSource(tmp_path / "b.wav", Path("b.wav"))
    with TranscribeBatch(Target(here.url, KEY), TranscribeOptions(), 2) as batch:
        (_, first), (_, second) = batch.results([broken, whole])
    assert isinstance(first, FluxionsError)
    assert not isinstance(second, FluxionsError)


def test_brackets_in_a_tables_title_and_cells_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("archive 1: [/b/] [red]", ["name"], [["[/b/] [bold]"]])
    shown = capsys.readouterr().out
    assert "archive 1: [/b/] [red]" in " ".join(shown.split())
    assert "[/b/] [bold]" in shown
