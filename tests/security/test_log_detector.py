"""The detectors of secrets find what they are made for.

The end-to-end tests run that of logs over every log of their home; all tests run that of output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import output_detector
from tests.support.log_detector import Secrets, leaks
from tests.support.processes import ROOT

pytestmark = pytest.mark.security

SECRETS = Secrets(frozenset({"interview with jane.wav"}), ("We meet the dentist on Tuesday at nine.",))


@pytest.mark.parametrize(
    "line",
    [
        "key fx_0123456789abcdefghijklmnopqrstuv was used",
        "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        "GET /objects/audio/a/b?expires=1&signature=0123456789abcdef0123456789abcdef",
        "POST /operator/jobs/3/renew?lease=worker-1-abcdefgh",
        "cannot read 'interview with jane.wav'",
        "segment 3: meet the dentist on, 0.8",
    ],
)
def test_each_kind_of_secret_is_found(tmp_path: Path, line: str) -> None:
    (log := tmp_path / "gateway.log").write_text(f"INFO started\nINFO {line}\n")
    assert list(leaks([log], SECRETS)) == [str(log)]


SUITE = """
import logging, subprocess, sys

def test_passes():
    {statement}

def test_is_silent():
    pass
"""
CHILD = "import sys; sys.stderr.write('fx_' + 43 * 'a')"


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("print('key', 'fx_' + 'a' * 43)", "an API key in its stdout call"),
        (f"subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)", "an API key in its stderr call"),
        ("logging.warning('GET /objects/a?signature=%s', '0' * 64)", "a signature in its log call"),
        ("print('no secret')", None),
    ],
    ids=["output", "errors of a child", "log", "nothing"],
)
def test_a_secret_that_a_test_prints_fails_the_suite(
    tmp_path: Path, options: tuple[str, ...], statement: str, where: str | None
) -> None:
    conftest = "from tests.support import output_detector\n\npytest_configure = output_detector.register\n"
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(SUITE.format(statement=statement))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "2 passed" in run.stdout, run.stdout + run.stderr
    assert run.returncode == (0 if where is None else output_detector.EXIT_STATUS)
    if where is not None:
        assert f"test_some.py::test_passes: {where}" in run.stdout
        assert "a" * 43 not in run.stdout


def test_a_log_without_secrets_passes(tmp_path: Path) -> None:
    (log := tmp_path / "gateway.log").write_text("INFO job 3 of key_0123 was claimed on Tuesday\n")
    assert leaks([log], SECRETS) == {}
