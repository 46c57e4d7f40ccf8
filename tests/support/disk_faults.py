"""Faults of this process's fsync, by strace: errors and delays that the kernel's callers cannot tell from a disk's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import STOP_SECS, started

_PR_SET_PTRACER = 0x59616D61
_ANY_PROCESS = ctypes.c_ulong(-1)


def can_inject() -> bool:
    """Whether there is an strace that may trace a process here."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    return not subprocess.run([strace, "-qq", "true"], capture_output=True, check=False, timeout=STOP_SECS).returncode


@contextlib.contextmanager
def failing_fsync(fault: str) -> Iterator[None]:
    """While this is open, every fsync of this process meets ``fault``: ``error=EIO``, ``delay_exit=MICROSECONDS``."""
    # Where a security module lets parents trace children only, a process may name who else may trace it.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY_PROCESS, 0, 0, 0)
    argv = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "-e",
        f"inject=fsync:{fault}",
        "-p",
        str(os.getpid()),
    ]
    with started(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        _until_traced_by(tracer.pid, tracer)
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # which it takes as the wish to detach
            tracer.wait(STOP_SECS)
            _until_traced_by(0, None)


def _until_traced_by(pid: int, tracer: subprocess.Popen[bytes] | None) -> None:
    """Wait until every thread of this process has this tracer."""
    deadline = time.monotonic() + STOP_SECS
    while set(_tracers()) != {pid}:
        assert tracer is None or tracer.poll() is None, "strace ended"
        assert time.monotonic() < deadline, "strace neither attached nor detached"
        time.sleep(0.02)


def _tracers() -> Iterator[int]:
    for status in Path("/proc/self/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            yield next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("TracerPid"))
