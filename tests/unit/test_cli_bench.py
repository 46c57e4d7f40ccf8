"""The load generator and the measures: true recordings, all different; counts and percentiles that add up."""

from __future__ import annotations

import io
import itertools
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from flows import archive_connecting, stub_engines
from schemas.errors import FluxionsError
from schemas.settings import Settings
from serve.cli import bench_archive
from serve.cli.bench_submit import measure, recordings
from serve.cli.bench_transcribe import BareRecognizers, complete, speech, utterances_of
from serve.cli.client import Client, Target
from serve.cli.main import main
from serve.cli.measures import percentile
from tests.api_server import KEY, Server


def test_recordings_are_true_wav_files_of_the_size_asked_for_and_never_alike() -> None:
    made = list(itertools.islice(recordings(5000), 3)) + list(itertools.islice(recordings(5000), 3))
    assert {len(body) for body in made} == {5000}
    assert len(set(made)) == 6
    with wave.open(io.BytesIO(made[0])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 2478)


def test_every_acknowledged_submit_is_one_the_server_has() -> None:
    with Server() as server:
        load = measure(Target(server.url, KEY), clients=4, seconds=0.5, size_bytes=20_000)
        sent = [upload["body"] for upload in server.uploads]
    assert load.errors == {}
    assert len(load.latencies_secs) == len(sent) > 4
    assert len(set(sent)) == len(sent)
    assert 0.5 <= load.wall_secs < 5


def test_refused_submits_are_errors_and_no_submits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server() as server:
        server.refuse_submits = True
        monkeypatch.setenv("FLUXIONS_API_KEY", KEY)
        arguments = ["bench", "submit", "--url", server.url, "--seconds", "0.2", "--clients", "2", "--json"]
        assert main(arguments) == 1
    found = {m["name"]: m["value"] for m in json.loads(capsys.readouterr().out)["measures"]}
    assert found["acknowledged submits"] == 0
    assert found["errors"] > 0


def test_a_long_recording_is_followed_by_its_events_and_asked_for_once() -> None:
    with Server() as server, Client(Target(server.url, KEY)) as client:
        wall_secs, body = complete(client, b"sound", cache=False, follow=True)
        assert body["status"] == "completed"
        assert wall_secs > 0
        assert server.polls == {1: 2}  # One by the events, one to fetch the result.


def test_events_that_are_refused_say_why() -> None:
    with (
        Server() as server,
        Client(Target(server.url, "fx_other")) as client,
        pytest.raises(FluxionsError, match="this key is not known"),
    ):
        client.until_final(1)


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ["bench", "quality", str(tmp_path), "--report", str(tmp_path / "file" / "report.md"), "--json"]
    assert main(arguments) == 1
    assert json.loads(capsys.readouterr().err)["error"]["param"] == "report"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_percentiles_are_values_that_were_seen(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_rendered_speech_is_of_the_length_asked_for_and_bare_recognisers_decode_it() -> None:
    pcm = speech(6.0, seed=3)
    assert (pcm.dtype, len(pcm)) == (np.int16, 96_000)
    utterances = utterances_of(pcm, Settings())
    assert 0.5 < sum(map(len, utterances)) / 2 / len(pcm) <= 1.0
    with BareRecognizers(1) as recognizers:
        took_secs, num_words = recognizers.decode(utterances)
    assert took_secs > 0
    assert num_words >= 8


def test_the_stub_for_engines_is_named_by_the_bench_alone_and_takes_the_place_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(__file__).resolve().parents[2]
    rooms = ("schemas", "audio", "lakehouse", "serve", "flows", "scripts")
    files = [path for room in rooms for path in (root / room).rglob("*.py")] + [root / "prefect.yaml"]
    naming = {str(path.relative_to(root)) for path in files if "stub_engines" in path.read_text()}
    assert naming == {"flows/stub_engines.py", "serve/cli/bench_archive.py"}
    assert (stub_engines.__name__, stub_engines.CALLS) == (bench_archive.STUB, bench_archive.CALLS)
    monkeypatch.setattr(archive_connecting, "ArchiveClient", archive_connecting.ArchiveClient)
    stub_engines.dask_setup(None)
    assert archive_connecting.ArchiveClient is stub_engines.StubEngines


def test_a_sparse_recording_is_as_long_as_asked_for_and_silent_but_for_its_first_seconds(tmp_path: Path) -> None:
    bench_archive.sparse(tmp_path / "sparse.wav", 90.0)
    with wave.open(str(tmp_path / "sparse.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 90 * 16_000)
        pcm = np.frombuffer(file.readframes(90 * 16_000), "<i2").astype(np.float64)
    assert np.sqrt(np.mean(pcm[: 10 * 16_000] ** 2)) > 500
    assert np.abs(pcm[10 * 16_000 :]).max() < 500


def test_tiny_recordings_all_differ(tmp_path: Path) -> None:
    bench_archive.tiny(tmp_path, 5)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 5


def test_a_part_that_does_not_exist_is_refused() -> None:
    assert main(["bench", "archive", "--only", "speed"]) == 2
