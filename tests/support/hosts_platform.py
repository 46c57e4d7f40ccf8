"""The platform on several hosts: the commands of `docs/operations.md`, a bucket and PostgreSQL, and its clients."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from serve.supervisor.instance import Instance
from tests.support.hosts import Host, Network
from tests.support.hosts_stores import bucket, database
from tests.support.processes import ROOT, without

START_SECS = 540.0
STOP_SECS = 60.0
RETRY_SECS = 120.0
_AGENTS = ("runtime_env_agent", "dashboard_agent_listen")
SETTINGS = {
    "FLUXIONS_ALLOW_PUBLIC": "1",
    "FLUXIONS_READY_SECS": str(START_SECS),
    "FLUXIONS_ASR_MODEL": "tiny.en",
    "FLUXIONS_TTS_ENGINE": "espeak",
    "FLUXIONS_MAINTENANCE": "0",
    "FLUXIONS_LEASE_SECS": "5",
    "FLUXIONS_CLAIM_WAIT_SECS": "5",
    "FLUXIONS_MAX_ATTEMPTS": "20",
    "FLUXIONS_LEDGER_LEASE_SECS": "6",
}


@dataclass
class Machine:
    """A host with the platform on it, started by ``fluxions up --head`` or ``fluxions join``."""

    host: Host
    home: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:8000"

    def run(self, arguments: Sequence[str]) -> None:
        """Start the command in the background; its output is in ``HOME/out``."""
        self.home.mkdir(exist_ok=True)
        with (self.home / "out").open("ab") as out:
            command = [sys.executable, "-m", "cli.main", *arguments, "--home", str(self.home), "--host", self.host.address]
            self.began = time.monotonic()
            self.process = self.host.start(command, env=self.env, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)

    def wait_ray(self) -> None:
        """Wait for Ray's agents. A raylet waits 15 s for them: too short on a small machine where several start at once."""
        while (instance := Instance.read(self.home)) is None or not all(
            any(Path(instance.ray_temp, "session_latest").glob(f"{agent}_port_*")) for agent in _AGENTS
        ):
            assert self.process is not None
            assert self.process.poll() is None, self.output()
            assert time.monotonic() - self.began < START_SECS, self.output()
            time.sleep(0.2)

    def wait_ready(self) -> float:
        """Wait for the ready line; returns the seconds since its start."""
        assert self.process is not None
        while "ready  url=" not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() - self.began < START_SECS, self.output()
            time.sleep(0.2)
        return time.monotonic() - self.began

    def output(self) -> str:
        return (self.home / "out").read_text()

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until the command had ended."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(STOP_SECS) == 0, self.output()
        return time.monotonic() - began

    def end(self) -> None:
        """Switch the host off, and remove what its processes left outside of its home."""
        self.host.power_off()
        if self.process is not None:
            self.process.wait(STOP_SECS)
        if (instance := Instance.read(self.home)) is not None:
            shutil.rmtree(instance.ray_temp, ignore_errors=True)

    def has(self, title: str) -> bool:
        """Whether a process of this host has a title that begins so."""
        for pid in self.host.pids():
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                    return True
            except OSError:
                continue
        return False


@dataclass
class Platform:
    """The machines, the first of which is the head, and a key."""

    machines: list[Machine]
    acknowledged: list[int] = field(default_factory=list)
    """Jobs that were accepted."""

    @property
    def key(self) -> str:
        return (self.machines[0].home / "keys" / "default").read_text()

    def request(self, machine: Machine, method: str, path: str, **content: object) -> httpx.Response:
        """A request to one machine as a patient client sends it: again, with the same key, until it is answered."""
        headers = {"Authorization": self.key, "Idempotency-Key": uuid.uuid4().hex, **dict(content.pop("headers", {}))}  # type: ignore[call-overload]
        deadline = time.monotonic() + RETRY_SECS
        while True:
            try:
                answer = httpx.request(
                    method,
                    machine.url + path,
                    headers=headers,
                    timeout=15,
                    trust_env=False,
                    **content,  # type: ignore[arg-type]
                )
                again = answer.status_code >= 500 or answer.headers.get("x-should-retry") == "true"
                if not again and answer.headers.get("content-type") != "text/plain":
                    return answer
                problem = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                problem = type(error).__name__
            assert time.monotonic() < deadline, f"{method} {path} at {machine.host.name}: {problem}"
            time.sleep(0.25)


@contextmanager
def platform(net: Network, folder: Path, **settings: str) -> Iterator[Platform]:
    """The platform on all hosts of ``net``, ready; its storage and Prefect's database are on this machine."""
    with bucket(net.gateway) as storage, database(net.gateway) as url:
        common = {**without("FLUXIONS_", "RAY_", "PREFECT_"), **SETTINGS, **storage, **settings, "PYTHONPATH": str(ROOT)}
        machines = [Machine(host, folder / host.name, dict(common)) for host in net.hosts]
        head, *others = machines
        head.env |= {"FLUXIONS_PREFECT_DATABASE_URL": url, "FLUXIONS_NODE_ROLES": "gateway,engines,worker"}
        head.run(["up", "--head", "--address", head.host.address])
        secret = head.home / "keys" / "cluster"
        deadline = time.monotonic() + START_SECS
        while not secret.exists():
            assert time.monotonic() < deadline, head.output()
            time.sleep(0.1)
        try:
            for machine, before in zip(others, machines, strict=False):
                before.wait_ray()
                machine.run(["join", head.host.address, "--secret-file", str(secret)])
            for machine in machines:
                machine.wait_ready()
            yield Platform(machines)
        finally:
            for machine in machines:
                machine.end()
