"""What `fluxions doctor` finds, on this machine as it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serve.cli.doctor import (
    Finding,
    examine,
    exposure,
    haproxy,
    home,
    packages,
    port,
    python,
    telemetry,
    variables,
    voiceprints,
)
from serve.cli.main import main
from serve.cli.options import load_settings
from serve.instance import MARKER


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("FLUXIONS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path / "home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FLUXIONS_PORT", str(free.getsockname()[1]))


def test_this_installation_is_whole() -> None:
    findings = [f for check in (python, packages, voiceprints, haproxy) for f in check(load_settings())]
    assert {f.verdict for f in findings} == {"ok"}, findings


def test_a_taken_port_fails_and_a_free_one_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert [f.verdict for f in port(load_settings())] == ["ok"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert main(["doctor", "--json", "--port", str(number)]) == 1
    failed = [c for c in json.loads(capsys.readouterr().out)["checks"] if c["verdict"] == "fail"]
    assert [c["check"] for c in failed] == ["port"]
    assert str(number) in failed[0]["sentence"]


def test_a_home_that_cannot_be_written_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_HOME", "/proc/fluxions")
    assert [(f.verdict, f.check) for f in home(load_settings())] == [("fail", "home")]


def test_a_public_address_without_consent_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_HOST", "0.0.0.0")
    assert [f.check for f in port(load_settings()) if f.verdict == "fail"] == ["address"]
    monkeypatch.setenv("FLUXIONS_ALLOW_PUBLIC", "true")
    assert [f for f in port(load_settings()) if f.verdict == "fail"] == []


def test_a_misspelt_variable_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.verdict for f in variables(load_settings())] == ["ok"]
    monkeypatch.setenv("FLUXIONS_PROFIL", "gpu")
    (finding,) = variables(load_settings())
    assert finding == Finding("warn", "settings", "FLUXIONS_PROFIL is no setting; did you mean FLUXIONS_PROFILE?")


def test_telemetry_that_is_asked_for_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    (finding,) = telemetry(load_settings())
    assert (finding.verdict, "RAY_USAGE_STATS_ENABLED" in finding.sentence) == ("warn", True)


def test_a_port_open_to_all_is_named_and_one_on_loopback_is_not(tmp_path: Path) -> None:
    program = (
        "import socket, sys; a = socket.create_server(('', 0)); b = socket.create_server(('127.0.0.1', 0)); "
        "print(a.getsockname()[1], b.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, MARKER: "doctor-test"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        everywhere, loopback = map(int, process.stdout.readline().split())
        instance = tmp_path / "home" / "instance.json"
        instance.parent.mkdir()
        fields = {"pid": os.getpid(), "url": "u", "home": "h", "marker": "doctor-test", "ray_temp": "t"}
        instance.write_text(json.dumps({**fields, "ports": {"gcs": everywhere, "prefect": loopback}}))
        (finding,) = exposure(load_settings())
        process.communicate(timeout=10)
    assert finding.verdict == "warn"
    assert f"{everywhere} (gcs)" in finding.sentence
    assert str(loopback) not in finding.sentence


def test_every_check_says_one_sentence() -> None:
    findings = examine(load_settings())
    assert len({f.check for f in findings}) >= 9
    assert all(f.sentence and "\n" not in f.sentence for f in findings)
