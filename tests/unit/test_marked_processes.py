"""Child processes are found by their marker and end for certain, whatever they do to their own environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from runtime.children import ServiceProcess, wait_ended
from serve.supervisor.marked_processes import end_marked, marked
from tests.support.processes import started

pytestmark = pytest.mark.unit

MARKER = "FLUXIONS_TEST_MARKER"


def _child(tmp_path: Path, code: str, value: str) -> ServiceProcess:
    env = {**os.environ, MARKER: value}
    return ServiceProcess("probe", [sys.executable, "-c", code], env, tmp_path / "probe.log")


def _until(condition: object, secs: float = 10.0) -> None:
    deadline = time.monotonic() + secs
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_children_that_ignore_termination_are_killed_with_what_they_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    child = _child(tmp_path, code, "stubborn")
    child.start()
    _until(lambda: len(marked(MARKER, "stubborn")) == 2 and "up" in child.last_lines())
    assert end_marked(MARKER, "stubborn", grace_secs=0.2) == 2
    assert marked(MARKER, "stubborn") == []
    assert wait_ended([child], 5.0)
    assert child.exited() is not None


def test_a_process_that_overwrote_the_start_of_its_environment_is_still_found(tmp_path: Path) -> None:
    code = (
        "import ctypes, os, time\n"
        "stat = open('/proc/self/stat').read().rsplit(')', 1)[1].split()\n"
        "start = int(stat[47])\n"
        "ctypes.memset(start, 0, 64)\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    env = {"A_FIRST": "x" * 80, **os.environ, MARKER: "titled"}
    with started([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [p.pid for p in marked(MARKER, "titled")] == [process.pid]
        end_marked(MARKER, "titled", grace_secs=5.0)
        process.wait(5)


def test_what_a_marked_process_started_without_its_environment_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={}, start_new_session=True)\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    child = _child(tmp_path, code, "bare")
    child.start()
    _until(lambda: child.last_lines().strip())
    bare = int(child.last_lines())
    assert {p.pid for p in marked(MARKER, "bare")} == {child.pid, bare}
    assert end_marked(MARKER, "bare", grace_secs=5.0) == 2
    assert wait_ended([child], 5.0)
    _until(lambda: not psutil.pid_exists(bare))


def test_restarts_wait_longer_while_a_child_keeps_dying_young(tmp_path: Path) -> None:
    child = _child(tmp_path, "raise SystemExit(3)", "young")
    pauses = []
    for _ in range(6):
        child.start()
        assert wait_ended([child], 10.0)
        assert child.exited() == 3
        pauses.append(child.schedule_restart())
    assert pauses == sorted(pauses)
    assert pauses[0] < 1 < pauses[-1] <= 10
