"""Logs are bounded, and a program that goes on writing loses no line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.log_files import rotate
from schemas.settings import ServerSettings, Settings
from serve.supervisor.environment import environment
from serve.supervisor.instance import create
from serve.supervisor.supervisor import Supervisor
from tests.support.processes import free_port

pytestmark = pytest.mark.unit


def test_a_log_is_set_aside_while_its_program_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    with log.open("ab", buffering=0) as file:
        for number in range(5):
            assert not rotate(log, 8, 2)
            file.write(f"line number {number}\n".encode())
            assert rotate(log, 8, 2)
            assert log.read_bytes() == b""
        file.write(b"last\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serve.log", "serve.log.1", "serve.log.2"]
    assert log.read_text() == "last\n"
    assert (tmp_path / "serve.log.1").read_text() == "line number 4\n"
    assert (tmp_path / "serve.log.2").read_text() == "line number 3\n"


def test_none_is_kept_where_none_is_wanted_and_one_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    log = tmp_path / "worker-0.log"
    assert not rotate(log, 1, 3)
    log.write_text("a long line\n")
    assert rotate(log, 1, 0)
    assert log.read_text() == ""
    assert list(tmp_path.iterdir()) == [log]


def test_the_supervisor_sets_the_logs_of_all_its_programs_aside(tmp_path: Path) -> None:
    settings = Settings(server=ServerSettings(home=tmp_path / "home", port=free_port(), log_mib=1, logs_kept=1))
    supervisor = Supervisor(settings)
    supervisor._children = supervisor._build(instance := create(settings))
    logs = [child.log for child in supervisor._children.values()]
    assert {log.name for log in logs} >= {"ray.log", "serve.log", "prefect.log", "worker-0.log", "maintenance.log"}
    for log in logs:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"a line\n" * 200_000)
    supervisor._rotate_logs()
    assert {(log.stat().st_size, log.with_name(f"{log.name}.1").stat().st_size) for log in logs} == {(0, 1_400_000)}
    # Replicas, and the ledger, write through Ray, which has a setting of its own.
    assert environment(settings, instance)["RAY_ROTATION_MAX_BYTES"] == str(2**20)
    assert environment(settings, instance)["RAY_ROTATION_BACKUP_COUNT"] == "1"
