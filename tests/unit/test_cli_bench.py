"""The load generator and the measures: true recordings, all different; counts and percentiles that add up."""

from __future__ import annotations

import io
import itertools
import json
import wave

import numpy as np
import pytest

from schemas.settings import Settings
from serve.cli.bench_submit import measure, recordings
from serve.cli.bench_transcribe import BareRecognizers, speech, utterances_of
from serve.cli.client import Target
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
