"""The platform on several hosts: the commands of `docs/operations.md`, a bucket and PostgreSQL, and its clients."""

from __future__ import annotations

import os
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
from tests.support.operations_page import exported, typed
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
Program = subprocess.Popen[bytes]
_JOIN = "fluxions join 10.0.0.1 --secret-file cluster.secret --home"


@dataclass
class Machine:
    """A host with the platform on it, started by ``fluxions up --head`` or ``fluxions join``."""

    host: Host
    home: Path
    env: dict[str, str]
    head: str
    """Address of the cluster's head."""
    others: Sequence[Path]
    """Homes of the other machines, which its programs see empty."""
    process: Program | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:8000"

    @property
    def secret(self) -> Path:
        """The copy of the cluster's secret on a machine that joins."""
        return self.home.with_suffix(".secret")

    def run(self) -> None:
        """Start the machine's part of the platform in the background; its output is in ``HOME/out``."""
        begin = "fluxions up --head" if self.head == self.host.address else _JOIN
        self.began = time.monotonic()
        self.process = self.typed(begin, self.home / "out", more=("--host", self.host.address))

    def start_again(self) -> None:
        """Plug the cable in, start it as before, and wait until it is ready."""
        self.host.mend()
        (self.home / "out").unlink()
        self.run()
        self.wait_ready()

    def typed(
        self, begin: str, out: Path, more: Sequence[str] = (), source: Path | None = None, **settings: str
    ) -> Program:
        """The command of the page of operations that begins so, in the background; its output is added to ``out``.

        ``source``: the recordings of an archive. ``settings`` take the place of those in front of the command.
        """
        (program, *arguments), given = typed(begin, self.replaced(source))
        home = [] if program != "fluxions" or "--home" in arguments else ["--home", str(self.home)]
        return self.start([str(Path(sys.executable).parent / program), *arguments, *home, *more], out, **given | settings)

    def replaced(self, source: Path | None = None) -> dict[str, str]:
        """What this machine has in place of the addresses and folders of the page."""
        return {
            "10.0.0.1": self.head,
            "/var/cache/fluxions": str(self.home),
            "cluster.secret": str(self.secret),
            "http://127.0.0.1:8000": self.url,
            **({"s3://bucket/calls": str(source)} if source else {}),
        }

    def start(self, command: Sequence[str], out: Path, **settings: str) -> Program:
        """A program of this machine in the background, in a session of its own. It sees no other machine's home."""
        hide = 'for one in $OTHERS; do mount -t tmpfs hidden "$one"; done; exec "$@"'
        env = self.env | settings | {"OTHERS": " ".join(map(str, self.others))}
        with out.open("ab") as file:
            shell = ["sh", "-e", "-c", hide, "sh", *command]
            return self.host.start(shell, env=env, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)

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
        """Ctrl-C, which a terminal sends to the whole process group; returns the seconds until the command had ended."""
        assert self.process is not None
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
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
        return self.stored_key("default")

    def stored_key(self, name: str) -> str:
        return (self.machines[0].home / "keys" / name).read_text()

    def keeper(self) -> Machine:
        """The machine that has the ledger, once there is one."""
        deadline = time.monotonic() + RETRY_SECS
        while True:
            for machine in self.machines:
                if machine.has("ray::LedgerActor"):
                    return machine
            assert time.monotonic() < deadline, "no machine has the ledger"
            time.sleep(0.1)

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
        of_page = exported(
            "FLUXIONS_STORAGE_URL", {"eu-central-1": storage["AWS_REGION"], "…": storage["AWS_ACCESS_KEY_ID"]}
        )
        own = without("FLUXIONS_", "RAY_", "PREFECT_", "AWS_") | SETTINGS | storage | of_page | settings
        common = own | {"PYTHONPATH": str(ROOT)}
        homes = [folder / host.name for host in net.hosts]
        for home in homes:
            home.mkdir()
        address = net.hosts[0].address
        machines = [
            Machine(host, home, dict(common), address, [other for other in homes if other != home])
            for host, home in zip(net.hosts, homes, strict=True)
        ]
        head, *others = machines
        database_url = {"prefect:PASSWORD@10.0.0.9/prefect": url.partition("//")[2]}
        head.env |= exported("FLUXIONS_PREFECT_DATABASE_URL", database_url)
        head.env["FLUXIONS_NODE_ROLES"] = "gateway,engines,worker"
        try:
            head.run()
            secret = head.home / "keys" / "cluster"
            deadline = time.monotonic() + START_SECS
            while not secret.exists():
                assert time.monotonic() < deadline, head.output()
                time.sleep(0.1)
            for machine, before in zip(others, machines, strict=False):
                before.wait_ray()
                shutil.copy(secret, machine.secret)
                machine.run()
            for machine in machines:
                machine.wait_ready()
            yield Platform(machines)
        finally:
            for machine in machines:
                machine.end()
