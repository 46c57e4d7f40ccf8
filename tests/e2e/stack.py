"""The whole product, started as its user starts it, for tests that talk to it over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.marked_processes import end_marked, marked
from tests.support.processes import free_port, started, without

START_SECS = 180.0
STOP_SECS = 20.0
FLUXIONS = str(Path(sys.executable).parent / "fluxions")


@dataclass
class Stack:
    """A running instance with its own home and port."""

    home: Path
    port: int
    settings: Mapping[str, str]
    process: subprocess.Popen[bytes]
    ready_line: str
    lives: ExitStack
    """Ends the process at the end."""
    erased: dict[str, str] = field(default_factory=dict)
    """Texts by name of what tests have deleted, and secrets that only their holders know: no file of it may hold one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key(self, name: str = "default") -> str:
        return (self.home / "keys" / name).read_text().strip()

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": key or self.key()}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False)

    def processes(self, text: str) -> list[psutil.Process]:
        """This instance's processes whose title or command line holds ``text``."""
        found = []
        for process in marked(MARKER, self.instance().marker):
            try:
                if text in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def kill_one(self, text: str) -> psutil.Process:
        """kill -9 of one of them."""
        victim = self.processes(text)[0]
        victim.kill()
        return victim

    def instance(self) -> Instance:
        found = Instance.read(self.home)
        assert found is not None
        return found

    def kill_all(self) -> None:
        """kill -9 of the supervisor and everything else, as when a machine fails."""
        marker = self.instance().marker
        self.process.kill()
        self.process.wait(STOP_SECS)
        end_marked(MARKER, marker, grace_secs=0.0)

    def start_again(self) -> float:
        """Start it as before, and the seconds until it was ready."""
        began = time.monotonic()
        self.process, self.ready_line = self.lives.enter_context(_up(self.home, self.port, self.settings))
        return time.monotonic() - began

    def fluxions(self, *arguments: str, secs: float = 120.0) -> dict[str, Any]:
        """What a command for this home prints as JSON; it must succeed."""
        command = [FLUXIONS, *arguments, "--json", "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=secs, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def stop(self) -> float:
        """Ctrl-C, and the seconds until it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began


@contextmanager
def running(home: Path, **settings: str) -> Iterator[Stack]:
    """``fluxions up --home … --port …`` in its own process, once it has printed its ready line.

    On leaving, whatever of it still runs is killed.
    """
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lives:
        try:
            process, ready_line = lives.enter_context(_up(home, port, settings))
            yield Stack(home, port, settings, process, ready_line, lives)
        finally:
            if (instance := Instance.read(home)) is not None:
                end_marked(MARKER, instance.marker, grace_secs=0.0)


@contextmanager
def _up(home: Path, port: int, settings: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and its ready line. Output goes on where that of an earlier one ended."""
    command = [FLUXIONS, "up", "--home", str(home), "--port", str(port)]
    env = without("FLUXIONS_", "RAY_", "PREFECT_") | settings
    out, err = home / "up.out", home / "up.log"
    out.unlink(missing_ok=True)
    with (
        out.open("w") as said,
        err.open("a") as logged,
        started(command, env=env, start_new_session=True, stdout=said, stderr=logged) as process,
    ):
        yield process, _ready_line(process, out, err)


def _ready_line(process: subprocess.Popen[bytes], out: Path, err: Path) -> str:
    deadline = time.monotonic() + START_SECS
    while not (line := out.read_text()).endswith("\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the stack did not start:\n" + err.read_text()[-4000:])
        time.sleep(0.1)
    return line


def until(condition: Callable[[], object], what: str, secs: float = 60.0) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {secs:.0f} s"
        time.sleep(0.05)


def wait_for(client: httpx.Client, job_id: int, timeout_secs: float = 120.0) -> dict[str, object]:
    """Poll a job until it is final. Refused connections while a proxy restarts are waited out."""
    deadline = time.monotonic() + timeout_secs
    while True:
        try:
            response = client.get(f"/transcriptions/{job_id}")
            # The proxy says 404 in plain text while the application starts.
            if response.headers.get("content-type") == "application/json" and response.status_code < 500:
                body = response.raise_for_status().json()
                if body["status"] in ("completed", "failed"):
                    return dict(body)
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"job {job_id} is not final after {timeout_secs:.0f} s"
        time.sleep(0.1)
