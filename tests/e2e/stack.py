"""The whole product, started as its user starts it, for tests that talk to it over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from serve.instance import MARKER, Instance
from serve.processes import marked

START_SECS = 180.0
STOP_SECS = 20.0


@dataclass
class Stack:
    """A running instance with its own home and port."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    ready_line: str

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
        instance = Instance.read(self.home)
        assert instance is not None
        found = []
        for process in marked(MARKER, instance.marker):
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

    def stop(self) -> float:
        """Ctrl-C, and the seconds until it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path, **settings: str) -> Stack:
    """``fluxions up --home … --port …`` in its own process; returns when it has printed its ready line."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).parent / "fluxions"), "up", "--home", str(home), "--port", str(port)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXIONS_", "RAY_", "PREFECT_"))} | settings
    out, err = home / "up.out", home / "up.log"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, env=env, stdout=stdout, stderr=stderr, start_new_session=True)
    deadline = time.monotonic() + START_SECS
    while not (line := out.read_text()).endswith("\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the stack did not start:\n" + err.read_text()[-4000:])
        time.sleep(0.1)
    return Stack(home, port, process, line)


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
