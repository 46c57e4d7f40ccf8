"""Logs are bounded, and a program that goes on writing loses no line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.log_files import rotate

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
