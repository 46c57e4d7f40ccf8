"""What `fluxions doctor` finds, on this machine as it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audio.decoding.confinement import missing
from cli import doctor_security
from cli.doctor import (
    Finding,
    end_of_turn,
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
from cli.main import main
from cli.options import load_settings
from schemas.errors import Conflict
from serve.supervisor.instance import MARKER, ensure_key
from serve.supervisor.own_folders import own_folder
from tests.support.processes import started

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("FLUXIONS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLUXIONS_HOME", str(tmp_path / "home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FLUXIONS_PORT", str(free.getsockname()[1]))


def test_this_installation_is_whole() -> None:
    findings = [f for check in (python, packages, voiceprints, end_of_turn, haproxy) for f in check(load_settings())]
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
        "c = socket.create_server(('::ffff:127.0.0.1', 0), family=socket.AF_INET6, dualstack_ipv6=True); "
        "print(*(one.getsockname()[1] for one in (a, b, c)), flush=True); sys.stdin.read()"
    )
    with started(
        [sys.executable, "-c", program],
        env={**os.environ, MARKER: "doctor-test"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        everywhere, loopback, mapped = map(int, process.stdout.readline().split())
        instance = tmp_path / "home" / "instance.json"
        instance.parent.mkdir()
        fields = {"pid": os.getpid(), "url": "u", "home": "h", "marker": "doctor-test", "ray_temp": "t"}
        instance.write_text(json.dumps({**fields, "ports": {"gcs": everywhere, "prefect": loopback, "ray_client": mapped}}))
        (finding,) = exposure(load_settings())
        assert finding in doctor_security.examine_security(load_settings())
        process.communicate(timeout=60)
    assert finding.verdict == "warn"
    assert f"{everywhere} (gcs)" in finding.sentence
    assert f"{loopback} (prefect)" not in finding.sentence
    assert f"{mapped} (ray_client)" not in finding.sentence
    assert "nft add rule" in finding.sentence


def test_every_check_says_one_sentence() -> None:
    findings = examine(load_settings())
    assert len({f.check for f in findings}) >= 9
    assert all(f.sentence and "\n" not in f.sentence for f in findings)


def test_a_fresh_home_is_green_in_security(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_folder(tmp_path / "home")
    ensure_key(tmp_path / "home", "default")
    assert main(["doctor", "--security", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["checks"]
    lacking = [problem for problem in [missing()] if problem]
    assert [f["check"] for f in found if f["verdict"] != "ok"] == ["decoder"] * len(lacking)
    assert {"decoder", "files", "address", "settings"} <= {f["check"] for f in found}


def test_files_that_others_may_read_fail_and_open_ports_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_folder(tmp_path / "home")
    ensure_key(tmp_path / "home", "default")
    (tmp_path / "home" / "keys" / "default").chmod(0o644)
    monkeypatch.setenv("FLUXIONS_FETCH_PRIVATE", "true")
    monkeypatch.setenv("FLUXIONS_HOST", "0.0.0.0")
    assert main(["doctor", "--security", "--json"]) == 1
    found = [f for f in json.loads(capsys.readouterr().out)["checks"] if f["verdict"] != "ok" and f["check"] != "decoder"]
    assert [(f["verdict"], f["check"]) for f in found] == [("fail", "files"), ("warn", "address"), ("warn", "settings")]


def test_a_kernel_that_cannot_confine_decoders_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_security, "missing", lambda: ["the kernel has no Landlock"])
    (finding,) = doctor_security.decoder(load_settings())
    assert (finding.verdict, "has no Landlock. Accept recordings only from people" in finding.sentence) == ("warn", True)


def test_each_setting_that_weakens_a_protection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = {
        "FLUXIONS_FETCH_PRIVATE": "true",
        "FLUXIONS_MANIFEST_ANYWHERE": "true",
        "FLUXIONS_WEBHOOK_PRIVATE_ADDRESSES": "true",
        "FLUXIONS_JWT_LOCAL_ACCOUNTS": "true",
        "FLUXIONS_CORS_ORIGINS": "*",
    }
    assert [finding.verdict for finding in doctor_security.weakened_settings(load_settings())] == ["ok"]
    for name, value in weak.items():
        monkeypatch.setenv(name, value)
    found = list(doctor_security.weakened_settings(load_settings()))
    assert {finding.verdict for finding in found} == {"warn"}
    assert [finding.sentence.partition(":")[0] for finding in found] == list(weak)


def test_a_folder_that_others_made_or_opened_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "fx"
    own_folder(folder, made_by_us=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(Conflict, match="open to other users"):
        own_folder(folder, made_by_us=True)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(Conflict, match="not a folder of this user"):
        own_folder(tmp_path / "link", made_by_us=True)
    if os.getuid() == 0:
        os.chown(folder, 12345, 12345)
        with pytest.raises(Conflict, match="not a folder of this user"):
            own_folder(folder)
    # A home of ours that was open is shut.
    (tmp_path / "home").mkdir(mode=0o755)
    own_folder(tmp_path / "home")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
