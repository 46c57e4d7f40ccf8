"""The load generator and the measures: true recordings, all different; counts and percentiles that add up."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.fixtures import complete, speech
from benchmarks.measure import percentile
from benchmarks.platform import archive, archive_stub, leaks, live, overload, soak
from benchmarks.platform.engine_processes import BareEngines, FasterWhisperProcess
from benchmarks.platform.engine_work import work_of
from benchmarks.platform.submit import measure, recordings
from cli.main import main
from clients import connection
from clients.public import Client, Target
from schemas.errors import FluxionsError, InvalidParameter, ServerUnreachable, Unavailable
from schemas.settings import EngineSettings, Settings
from tests.support.api_server import KEY, Server
from tests.support.processes import started
from tests.unit.test_rooms import MAY_IMPORT

pytestmark = pytest.mark.unit


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


def test_rendered_speech_is_of_the_length_asked_for_and_both_who_are_compared_hear_it() -> None:
    pcm = speech(6.0, seed=3)
    assert (pcm.dtype, len(pcm)) == (np.int16, 96_000)
    work = work_of(pcm, Settings())
    assert 0.5 < sum(map(len, work.windows)) / 2 / len(pcm) <= 1.0
    with BareEngines(Settings(), 1) as engines:
        took_secs, num_words = engines.recognize(work)
        all_took_secs, num_turns = engines.run_all(work)
    assert took_secs > 0
    assert num_words >= 8
    assert all_took_secs > 0
    assert num_turns >= 1
    with FasterWhisperProcess(Settings()) as rival:
        took_secs, their_words = rival.transcribe(pcm)
    assert took_secs > 0
    assert their_words == pytest.approx(num_words, abs=4)


def test_another_package_is_compared_with_the_same_model_only() -> None:
    settings = Settings(engines=EngineSettings(asr_engine="nemo", asr_model="some/model"))
    with pytest.raises(InvalidParameter, match="nemo"):
        FasterWhisperProcess(settings)


def test_overload_tells_accepted_from_refused_submits_and_measures_memory_and_the_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overload, "_SAMPLE_SECS", 0.1)
    with Server() as server, started([sys.executable, "-c", "input()", "haproxy"], stdin=subprocess.PIPE) as child:
        server.unavailable = 3
        target = Target(server.url, KEY)
        measured, wrong = overload.measure(
            target, lambda: [psutil.Process(child.pid)], clients=1, times=3, seconds=2, size_bytes=2048
        )
    found = {one.name: one.value for one in measured}
    assert found["1 clients: accepted"] > 0
    assert found["1 clients: refused"] > 0
    assert found["3 clients: accepted p99"] > 0
    assert wrong == found["errors that are no refusal"] == 0
    assert found["haproxy: most memory, first half"] > 1
    assert found["haproxy: most memory, second half"] > 1
    assert found["recovery"] < 60


def test_leaks_are_not_measured_where_the_server_refuses_what_would_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_REST_SECS", 0.0)
    with Server() as server:
        server.refuse_submits = True
        with pytest.raises(Unavailable, match="submit, cancel: the server refused all"):
            leaks.measure(Target(server.url, KEY), lambda: [psutil.Process()], 10, lambda _: None)


def test_one_kind_of_leak_is_measured_alone_in_two_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_REST_SECS", 0.0)
    grown = iter((100.0, 103.0, 104.0))

    def held(_: object) -> dict[str, leaks.Held]:
        return {"Gateway": leaks.Held(descriptors=40, threads=9, children=2, rss_mib=next(grown))}

    monkeypatch.setattr(leaks, "held", held)
    with Server() as server:
        found = leaks.measure(Target(server.url, KEY), list, 21, lambda _: None, "upload")
        with pytest.raises(InvalidParameter, match="submit, cancel"):
            leaks.measure(Target(server.url, KEY), list, 21, lambda _: None, "swim")
    values = {one.name: one.value for one in found}
    assert [name for name in values if name.startswith("done")] == ["done: an upload cut in the middle"]
    assert values["done: an upload cut in the middle"] == 21
    assert (values["Gateway: memory"], values["Gateway: memory, second half"]) == (4.0, 1.0)


def test_a_soak_tells_what_grows_after_its_first_third_from_what_has_grown_before() -> None:
    def sample(minute: int) -> soak.Sample:
        steady = leaks.Held(descriptors=40, threads=9, children=2, rss_mib=100.0 + 50 * min(minute, 20))
        leaking = leaks.Held(descriptors=40 + minute, threads=9, children=2, rss_mib=100.0 + minute)
        held = {"steady": steady, "leaking": leaking} | ({"short": steady} if minute == 30 else {})
        return soak.Sample(minute * 60.0, held)

    found = {one.name: one.value for one in soak.growth([sample(minute) for minute in range(61)])}
    assert found["steady: memory"] == pytest.approx(0)
    assert found["steady: memory at the end"] == 1100
    assert found["leaking: memory"] == pytest.approx(60)
    assert found["leaking: descriptors"] == 40
    assert not any(name.startswith("short") for name in found)


def test_a_soak_of_a_server_that_refuses_all_of_a_kind_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_PAUSE_SECS", 0.0)
    monkeypatch.setattr(soak, "_SAMPLE_SECS", 0.1)
    with Server() as server:
        server.refuse_submits = True
        with pytest.raises(Unavailable, match="the server refused all"):
            soak.measure(Target(server.url, KEY), lambda: [psutil.Process()], 1 / 60, lambda _: None)


def test_a_stream_without_a_server_is_an_error_that_says_so() -> None:
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1"):
        live.measure(Target("http://127.0.0.1:1", KEY), streams=2, utterances=1)


def test_the_stub_for_engines_is_named_by_the_bench_alone_and_takes_the_place_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = Path(__file__).resolve().parents[2]
    rooms = (*MAY_IMPORT, "scripts")
    files = [path for room in rooms for path in (root / room).rglob("*.py")] + [root / "prefect.yaml"]
    naming = {str(path.relative_to(root)) for path in files if "archive_stub" in path.read_text()}
    assert naming == {"benchmarks/platform/archive_stub.py", "benchmarks/platform/archive.py"}
    assert (archive_stub.__name__, archive_stub.CALLS) == (archive.STUB, archive.CALLS)
    monkeypatch.setattr(connection, "ArchiveClient", connection.ArchiveClient)
    archive_stub.dask_setup(None)
    assert connection.ArchiveClient is archive_stub.StubEngines


def test_a_sparse_recording_is_as_long_as_asked_for_and_silent_but_for_its_first_seconds(tmp_path: Path) -> None:
    archive.sparse(tmp_path / "sparse.wav", 90.0)
    with wave.open(str(tmp_path / "sparse.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 90 * 16_000)
        pcm = np.frombuffer(file.readframes(90 * 16_000), "<i2").astype(np.float64)
    assert np.sqrt(np.mean(pcm[: 10 * 16_000] ** 2)) > 500
    assert np.abs(pcm[10 * 16_000 :]).max() < 500


def test_tiny_recordings_all_differ(tmp_path: Path) -> None:
    archive.tiny(tmp_path, 5)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 5


def test_a_part_that_does_not_exist_is_refused() -> None:
    assert main(["bench", "archive", "--only", "speed"]) == 2
