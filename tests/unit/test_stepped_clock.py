"""The stepped clock of the chaos runs: Python's wall clock moves, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import started
from tests.support.stepped_clock import SteppedClock

pytestmark = pytest.mark.unit

CLOCKS = """
import datetime as dt, sys, time
for _ in sys.stdin:
    print(time.time(), dt.datetime.now(dt.UTC).timestamp(), time.monotonic(), flush=True)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_wall_clock_is_stepped_while_a_program_runs_and_the_monotonic_one_is_not(tmp_path: Path) -> None:
    clock = SteppedClock(tmp_path / "clock")
    env = os.environ | clock.environment
    with started(
        (sys.executable, "-c", CLOCKS), env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for step_secs in (0, 3600, -3600):
            clock.step(step_secs)
            began_wall, began = time.time(), time.monotonic()
            program.stdin.write("\n")
            wall, today, monotonic = map(float, program.stdout.readline().split())
            for found in (wall, today):
                assert began_wall <= found - step_secs <= time.time()
            assert began <= monotonic <= time.monotonic()
