"""The command line against a small HTTP server on loopback that speaks the API's shapes: results, errors, exit codes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from cli.transcribe import coloured
from clients.public import Client, Target
from tests.support.api_server import KEY, Server, transcript_of
from tests.support.processes import started

pytestmark = pytest.mark.unit


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches these tests; HOME is empty."""
    for name in [n for n in os.environ if n.startswith("FLUXIONS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path / "home"))


@pytest.fixture
def here(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, found and opened by the environment as a user's would be."""
    monkeypatch.setenv("FLUXIONS_URL", server.url)
    monkeypatch.setenv("FLUXIONS_API_KEY", KEY)
    return server


def test_a_file_becomes_its_transcript(here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = random.Random(0).randbytes(700_000)  # The server fails a body with "bad" in it.
    (tmp_path / "talk.MP3").write_bytes(content)
    assert main(["transcribe", str(tmp_path / "talk.MP3"), "--non-speech", "--no-cache"]) == 0
    assert capsys.readouterr().out == f"SPEAKER_0: {transcript_of(content)}\n"
    (upload,) = here.uploads
    assert upload["body"] == content
    assert (upload["filename"], upload["type"], upload["length"]) == ("talk.MP3", "audio/mpeg", "700000")
    assert (upload["non_speech"], upload["cache"]) == ("true", "false")


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], (None, None)),
        (["--num-speakers", "2"], ("2", "2")),
        (["--min-speakers", "2"], ("2", None)),
        (["--max-speakers", "4"], (None, "4")),
    ],
)
def test_what_is_known_of_the_speakers_is_asked_for(
    here: Server, tmp_path: Path, options: list[str], asked: tuple[str | None, str | None]
) -> None:
    (tmp_path / "talk.wav").write_bytes(b"talk")
    assert main(["transcribe", str(tmp_path / "talk.wav"), *options]) == 0
    (upload,) = here.uploads
    assert (upload.get("min_speakers"), upload.get("max_speakers")) == asked


def test_recognition_options_are_sent(here: Server, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"talk")
    asked = ["--language", "es", "--prompt", "Dra. Ruiz.", "--keyterm", "Marta Ruiz", "--keyterm", "Ray, Serve"]
    assert main(["transcribe", str(tmp_path / "talk.wav"), *asked, "--translate", "--strict"]) == 0
    assert main(["transcribe", str(tmp_path / "talk.wav")]) == 0
    told, bare = here.uploads
    assert (told["language"], told["prompt"], told["task"], told["strict"]) == ("es", "Dra. Ruiz.", "translate", "true")
    assert told["keyterms"] == ["Marta Ruiz", "Ray, Serve"]
    assert not bare.keys() & {"language", "prompt", "task", "strict"}
    assert bare["keyterms"] == []


def test_warnings_are_shown_beside_the_transcript(here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "talk.wav").write_bytes(b"cut off")
    assert main(["transcribe", str(tmp_path / "talk.wav")]) == 0
    out, err = capsys.readouterr()
    assert out == f"SPEAKER_0: {transcript_of(b'cut off')}\n"
    assert "talk.wav: it breaks off at 1.5 s" in err


def test_one_bad_file_does_not_stop_the_others(here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"fLaC good one")
    (folder / "b.wav").write_bytes(b"fLaC bad one")
    (folder / "deep" / "c.flac").write_bytes(b"fLaC good two")
    (folder / "notes.txt").write_bytes(b"no recording")
    assert main(["transcribe", str(folder), "--json", "--jobs", "2"]) == 1
    captured = capsys.readouterr()
    first, second, third = (json.loads(line) for line in captured.out.splitlines())
    assert first["text"] == f"SPEAKER_0: {transcript_of(b'fLaC good one')}"
    assert second["error"]["code"] == "transcription_failed"
    assert third["source"].endswith("deep/c.flac")
    assert "1 of 3 recordings failed" in captured.err
    assert "not a recording (transcription" in captured.err
    assert len(here.uploads) == 3


def test_subtitles_are_beside_the_recording_or_in_a_folder_of_the_same_shape(here: Server, tmp_path: Path) -> None:
    (tmp_path / "in" / "day").mkdir(parents=True)
    for name in ("talk.wav", "talk.mp3"):
        (tmp_path / "in" / "day" / name).write_bytes(b"fLaC" + name.encode())
    assert main(["transcribe", str(tmp_path / "in" / "day" / "talk.wav"), "-o", "srt"]) == 0
    words = transcript_of(b"fLaCtalk.wav")
    assert (tmp_path / "in" / "day" / "talk.srt").read_text() == f"1\n00:00:00,500 --> 00:00:01,250\n{words}\n"
    assert main(["transcribe", str(tmp_path / "in"), "-o", "vtt", "-d", str(tmp_path / "out")]) == 0
    written = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert written == {"day/talk.vtt", "day/talk.wav.vtt"}
    assert len(here.uploads) == 3


def test_a_single_file_goes_to_stdout(here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    assert main(["transcribe", str(tmp_path / "a.wav"), "-o", "json", "-d", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["filename"] == "a.wav"
    assert here.uploads


def test_a_recording_on_the_web_is_forwarded(
    here: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")  # the web is on this machine
    assert main(["transcribe", f"{here.url}/files/talk.mp3"]) == 0
    assert transcript_of(b"over the web") in capsys.readouterr().out
    assert here.uploads[0]["filename"] == "talk.mp3"
    assert here.uploads[0]["type"] == "audio/mpeg"


def test_a_download_that_is_refused_is_that_recordings_failure(
    here: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")
    assert main(["transcribe", f"{here.url}/files/none.mp3", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "download_failed"
    assert here.uploads == []


def test_an_answer_that_is_no_transcription_is_an_error_and_no_traceback(
    here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.nonsense = True
    (tmp_path / "a.wav").write_bytes(b"x")
    assert main(["transcribe", str(tmp_path / "a.wav")]) == 1
    assert "answer is no transcription" in capsys.readouterr().err


def test_a_short_outage_is_waited_out(here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here.unavailable = 2
    (tmp_path / "a.wav").write_bytes(b"x")
    assert main(["transcribe", str(tmp_path / "a.wav")]) == 0
    assert transcript_of(b"x") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["transcribe", "absent.wav"], 2),
        (["transcribe", "{empty}"], 2),
        (["transcribe", "{file}", "--output-dir", "x"], 2),
        (["transcribe", "{file}", "--jobs", "0"], 2),
        (["transcribe", "{file}", "--output", "doc"], 2),
        (["transcribe", "{file}", "--num-speakers", "0"], 2),
        (["transcribe", "{file}", "--num-speakers", "2", "--max-speakers", "3"], 2),
        (["transcribe", "{file}", "--min-speakers", "3", "--max-speakers", "2"], 2),
        (["transcribe", "{file}", "--language", "English"], 2),
        (["transcribe", "{file}", "--keyterm", " "], 2),
        (["transcribe", "{file}", "--prompt", "x" * 2001], 2),
        (["transcribe", "{file}", "--url", "ftp://x"], 2),
        (["transcribe", "{file}", "--url", "http://127.0.0.1:9"], 3),
        (["transcribe", "{file}", "--key", "wrong"], 4),
        (["keys", "list", "--key", "wrong"], 4),
        (["keys", "revoke", "none"], 1),
        (["nonsense"], 2),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_goes_wrong_is_one_line_and_a_code(
    arguments: list[str], code: int, as_json: bool, here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.wav").write_bytes(b"x")
    places = {"{empty}": str(tmp_path / "empty"), "{file}": str(tmp_path / "a.wav")}
    line = [places.get(a, a) for a in arguments] + (["--json"] if as_json else [])
    assert main(line) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert KEY not in captured.err
    if as_json:
        assert json.loads(captured.err)["error"]["message"]
    assert here.uploads == []


def test_without_a_server_the_advice_is_to_start_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["status"]) == 3
    assert "fluxions up" in capsys.readouterr().err


def test_keys_are_made_listed_and_revoked(here: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "laptop", "--account", "research", "--scope", "operator"]) == 0
    assert capsys.readouterr().out == "fx_abcdef\n"
    assert here.keys[0]["scopes"] == ["operator"]
    assert main(["keys", "list"]) == 0
    assert "research" in capsys.readouterr().out
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"][0]["name"] == "laptop"
    assert main(["keys", "revoke", "k0"]) == 0


def test_a_profile_holds_the_key_and_is_no_one_elses(
    here: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = tmp_path / "research.share"
    line = ["keys", "create", "analyst", "--account", "research", "--profile", str(profile)]
    assert main(line) == 0
    shown = capsys.readouterr()
    assert "fx_abcdef" not in shown.out + shown.err
    assert here.keys[0]["scopes"] == ["history"]
    found = json.loads(profile.read_text())
    assert (found["shareCredentialsVersion"], found["bearerToken"]) == (1, "fx_abcdef")
    assert found["endpoint"].endswith("/delta-sharing/")
    assert profile.stat().st_mode & 0o777 == 0o600
    made = len(here.keys)
    assert main([*line, "--json"]) != 0, "a file is never replaced"
    assert len(here.keys) == made
    assert main(["keys", "create", "laptop", "--json", "--profile", str(tmp_path / "other.share")]) == 0
    assert "fx_abcdef" not in capsys.readouterr().out


def test_status_shows_readiness_and_engines(here: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "whisper" in shown
    assert "queued" in shown
    here.ready = False
    assert main(["status", "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert (body["ready"], body["health"]["status"], body["operator"]["jobs"]) == (False, "ok", {"queued": 3})


def test_a_homes_key_goes_to_that_homes_server_only(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    (keys / "operator").write_text(KEY)
    running = {"pid": os.getpid(), "url": server.url, "home": "", "marker": "m", "ports": {}, "ray_temp": ""}
    instance = tmp_path / "home" / "instance.json"
    instance.write_text(json.dumps(running))
    assert main(["keys", "list"]) == 0
    instance.write_text(json.dumps({**running, "url": "http://127.0.0.1:9"}))
    assert main(["keys", "list", "--url", server.url]) == 4
    assert KEY not in capsys.readouterr().err


def test_a_client_never_shows_its_key() -> None:
    assert "secret" not in repr(Target("http://127.0.0.1:1", "secret"))
    with Client(Target("http://127.0.0.1:1", "secret")) as client:
        assert "secret" not in repr(client)


def test_ctrl_c_stops_waiting_and_names_jobs_that_continue(here: Server, tmp_path: Path) -> None:
    here.stuck = True
    (tmp_path / "a.wav").write_bytes(b"x")
    command = [sys.executable, "-m", "cli.main", "transcribe", str(tmp_path / "a.wav")]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not here.polls:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "stopped; the server goes on with 1\n"


def test_speakers_are_coloured_and_other_lines_are_not() -> None:
    assert [str(span.style) for span in coloured("SPEAKER_1: hello").spans] == ["bold magenta"]
    assert coloured("SPEAKER_1: hello").plain == "SPEAKER_1: hello"
    assert coloured("note: hello").spans == []


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; from cli.main import main; main(['--help']); "
        "heavy = {'ray', 'torch', 'prefect', 'numpy', 'httpx', 'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "fluxions transcribe interview.mp3" in result.stdout


@pytest.mark.parametrize("kind", ["txt", "jsonl", "rttm", "ctm", "html", "docx"])
def test_every_kind_of_file_is_written_beside_the_recording(here: Server, tmp_path: Path, kind: str) -> None:
    (tmp_path / "talk.wav").write_bytes(b"talk")
    assert main(["transcribe", str(tmp_path / "talk.wav"), "-o", kind]) == 0
    content = (tmp_path / f"talk.{kind}").read_bytes()
    assert content.startswith(b"PK") if kind == "docx" else content


def test_a_file_that_is_there_is_written_over_with_force_only(
    here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.wav").write_bytes(b"talk")
    (tmp_path / "talk.srt").write_text("mine")
    assert main(["transcribe", str(tmp_path / "talk.wav"), "-o", "srt"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "talk.srt").read_text() == "mine"
    assert here.uploads == [], "it is said before anything is sent"
    style = ["--line-chars", "20", "--lines", "1", "--name-speakers", "always", "--chars-per-sec", "12"]
    assert main(["transcribe", str(tmp_path / "talk.wav"), "-o", "srt", "--force", *style]) == 0
    assert "\n[0] " in (tmp_path / "talk.srt").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.srt", "talk.wav"]
