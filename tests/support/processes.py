"""Starts programs for tests, and ends them with all their children however the test ends, or the whole test run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.watchdog import mark

ROOT = Path(__file__).resolve().parents[2]
RUN_SECS = 120.0
"""Longest a short program may run; it takes seconds even on a machine that has other things to do."""
STOP_SECS = 20.0
_PORTS = range(10_000, 20_000)


@contextmanager
def started(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stop_secs: float = STOP_SECS, **pipes: Any
) -> Iterator[subprocess.Popen[Any]]:
    """A running program, in the project's folder. At the end it is asked to end, and killed after ``stop_secs``."""
    process = subprocess.Popen(argv, env=_marked(env), cwd=ROOT, **pipes)
    try:
        yield process
    finally:
        family = _family(process.pid)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(stop_secs)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(stop_secs)
        _kill(family)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def left_running(argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[Any]:
    """A running program that the caller ends, at another place than where it started it."""
    return subprocess.Popen(argv, env=_marked(env), **options)


@asynccontextmanager
async def started_async(
    *argv: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT, **pipes: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """As `started`, for asyncio; processes that still run at the end are killed at once."""
    process = await asyncio.create_subprocess_exec(*argv, env=_marked(env), cwd=cwd, **pipes)
    try:
        yield process
    finally:
        family = _family(process.pid)
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), STOP_SECS)
        _kill(family)


def python(program: str, *arguments: str, secs: float = RUN_SECS, **options: Any) -> subprocess.CompletedProcess[Any]:
    """``python -c program`` run to its end with its output captured. Raises if it fails or takes longer than ``secs``."""
    options = {"check": True, "capture_output": True, **options}
    return subprocess.run([sys.executable, "-c", program, *arguments], timeout=secs, **options)


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now.

    It lies below the ports that the kernel gives to outgoing connections, so that none takes it before its server starts,
    or while its server starts again.
    """
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server in a child process, because native libraries hold this process's GIL while they wait."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + RUN_SECS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the S3 server ended"
                assert time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def s3_environment(endpoint: str) -> dict[str, str]:
    """The environment variables by which S3 clients find the server of `s3_server`."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


def _marked(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**(os.environ if env is None else env), **mark()}


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _kill(family: Sequence[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, STOP_SECS)


def without(*prefixes: str) -> dict[str, str]:
    """This process's environment without the variables whose names begin with ``prefixes``."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
