"""The ledger on three hosts: it is paused, then its host is cut off; it moves, and no acknowledged job is lost or doubled.

Asked for by ``FLUXIONS_TEST_HOSTS=1``, as it makes network namespaces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from lakehouse.storage.location import Location
from serve.supervisor.instance import Instance
from tests.e2e.stack import until
from tests.support.hosts import Host, network, why_not
from tests.support.hosts_stores import bucket
from tests.support.processes import ROOT, without

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.environ.get("FLUXIONS_TEST_HOSTS") != "1", reason="set FLUXIONS_TEST_HOSTS=1 to run it"),
]

START_SECS = 400.0
MOVE_SECS = 120.0
"""Far more than it takes, on a machine that has other things to do; how long it took is printed."""


class Client:
    """The output of a client that creates jobs: what was acknowledged, and the longest wait for it."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def acknowledged(self) -> list[tuple[int, str, float]]:
        lines = self.out.read_text().splitlines()[:-1] if self.out.exists() else []
        found = [line.split() for line in lines if ".wav " in line]
        return [(int(number), name, float(secs)) for number, name, secs in found]

    def wait(self, more: int, secs: float = MOVE_SECS) -> float:
        """Wait for so many more; returns the longest of their waits, s."""
        before, deadline = len(self.acknowledged()), time.monotonic() + secs
        while len(found := self.acknowledged()) < before + more:
            assert time.monotonic() < deadline, self.out.read_text()[-3000:]
            time.sleep(0.1)
        return max(one[2] for one in found[before:])


def ledger_pid(host: Host) -> int | None:
    for pid in host.pids():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::LedgerActor"):
                return pid
        except OSError:
            continue
    return None


def said_when_opened(home: Path) -> list[str]:
    """The lines in which ledgers of a machine say how long their opening took."""
    instance = Instance.read(home)
    assert instance is not None
    logs = Path(instance.ray_temp, "session_latest", "logs").glob("worker-*.err")
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
    return [line for line in lines if "the ledger is open" in line]


def replaced(hosts: Sequence[Host], pid: int, client: Client, what: str) -> Host:
    """The machine with the next ledger after that of ``pid``, once it answers. Prints how long each part took."""
    began = time.monotonic()

    def keepers() -> list[Host]:
        return [host for host in hosts if (found := ledger_pid(host)) and found != pid]

    until(keepers, "another ledger", MOVE_SECS)
    print(f"a ledger {what}: the next one's process after {time.monotonic() - began:.1f} s")  # noqa: T201
    longest = client.wait(5)
    (keeper,) = keepers()
    said = said_when_opened(client.out.parent / keeper.name)[-1].partition("ledger is open")[2]
    print(f"longest wait {longest:.1f} s{said}")  # noqa: T201
    return keeper


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[tuple[Host, ...], Client, dict[str, str]]]:
    if missing := why_not():
        pytest.skip(missing)
    with network(3) as net, bucket(net.gateway) as storage, ExitStack() as stack:
        common = without("FLUXIONS_", "RAY_", "PREFECT_") | storage | {"PYTHONPATH": str(ROOT)}
        common |= {"FLUXIONS_CLUSTER_SECRET_FILE": str(tmp_path / "secret"), "FLUXIONS_FSYNC": "0"}

        def start(host: Host, what: list[str], roles: str, name: str) -> None:
            home = tmp_path / host.name
            env = common | {"FLUXIONS_HOME": str(home), "FLUXIONS_NODE_ADDRESS": host.address, "FLUXIONS_NODE_ROLES": roles}
            command = [sys.executable, "-m", "tests.support.ray_machine", *what]
            with (tmp_path / name).open("wb") as out:
                process = host.start(
                    command, env=env, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                )
            stack.callback(process.wait)
            stack.callback(host.power_off)

        head, *others = net.hosts
        start(head, ["ray"], "gateway", "head")
        deadline = time.monotonic() + START_SECS
        while not (tmp_path / "secret").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for host in others:
            start(host, ["ray", f"{head.address}:6380"], "ledger", host.name + ".out")
        start(head, ["client"], "gateway", "client")
        client = Client(tmp_path / "client")
        client.wait(5, START_SECS)
        yield net.hosts, client, storage


def test_a_ledger_that_is_paused_and_one_that_is_cut_off_are_replaced(
    hosts: tuple[tuple[Host, ...], Client, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, *others), client, storage = hosts
    keeper = next(host for host in others if ledger_pid(host))
    pid = ledger_pid(keeper)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    keeper = replaced(others, pid, client, "is paused")
    (other,) = (host for host in others if host is not keeper)
    keeper.cut()
    assert replaced([other], pid, client, "is cut off") is other
    acknowledged = client.acknowledged()
    for name, value in storage.items():
        monkeypatch.setenv(name, value)
    stored = jobs(storage["FLUXIONS_STORAGE_URL"])
    ids = [number for number, _, _ in acknowledged]
    assert len(ids) == len(set(ids))
    names = [name for _, name in stored]
    assert len(names) == len(set(names)), "a job was created twice"
    assert set(stored) >= {(number, name) for number, name, _ in acknowledged}


def jobs(root: str) -> list[tuple[int, str]]:
    """(id, name) of every job in the table of events, each once for its creation."""
    uri = Location(root, False).table_uri("job_events")
    rows = pl.scan_delta(uri).filter(pl.col("status") == "submitted").select("id", "filename").collect()
    return [(row[0], row[1]) for row in rows.iter_rows()]
