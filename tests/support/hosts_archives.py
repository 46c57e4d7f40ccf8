"""Archives on a platform of several hosts: runs on any machine, Dask workers on some, and what became of each file."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from schemas.domain import SAMPLE_RATE_HZ
from tests.e2e import recordings
from tests.e2e.stack import until
from tests.support.hosts_jobs import history, seeds
from tests.support.hosts_platform import Machine, Platform, Program
from tests.support.processes import STOP_SECS

ARCHIVE_SECS = 400.0
"""Longer than a run takes: it starts Prefect and Dask, each minutes away on a small machine that is three already."""
IN_BLOCKS = {"FLUXIONS_LONG_FILE_SECS": "12", "FLUXIONS_BLOCK_SECS": "10", "FLUXIONS_BLOCKS_AT_ONCE": "1"}
_SHORTEST_SECS = 20
"""Less than a long recording, more than a short one."""
SETTINGS = IN_BLOCKS | {"FLUXIONS_ARCHIVE_WORKERS": "1", "FLUXIONS_ARCHIVE_BATCH_FILES": "1"}


def plant(folder: Path, short: int, long: int = 0) -> list[str]:
    """Recordings in a new folder, the long ones first in its order; returns their names."""
    folder.mkdir()
    for number in range(long):
        (folder / f"a-long-{number}.wav").write_bytes(recordings.long(45, seed=next(seeds)))
    for number in range(short):
        (folder / f"short-{number:02}.wav").write_bytes(recordings.sentence(1, next(seeds)))
    return sorted(path.name for path in folder.iterdir())


@dataclass
class Run:
    """`fluxions archive run` of a folder for an account, which may be started on one machine after another."""

    cluster: Platform
    source: Path
    account: str

    def start(self, machine: Machine, **settings: str) -> Program:
        """The command on ``machine``; its report goes into `said`."""
        self.said.unlink(missing_ok=True)
        more = ("--account", self.account, "--json")
        return machine.typed("fluxions archive run", self.said, more, self.source, **SETTINGS | settings)

    @property
    def said(self) -> Path:
        return self.source.with_suffix(".out")

    def completed(self, machine: Machine) -> int:
        """Number of files that are done."""
        return int(self._found(machine).get("counts", {}).get("completed", 0))

    def has_ended(self, machine: Machine) -> bool:
        return self._found(machine).get("status", "running") != "running"

    def _found(self, machine: Machine) -> dict[str, Any]:
        """The run, as the operator's API shows it; empty before it was begun."""
        headers = {"Authorization": self.cluster.stored_key("operator")}
        runs = self.cluster.request(machine, "GET", "/operator/archives", headers=headers).json()["archives"]
        return next((dict(run) for run in runs if run["source"] == str(self.source)), {})

    def completes(self, process: Program, names: list[str], machine: Machine) -> None:
        """Wait for its end: all files are completed, and history has each once."""
        assert process.wait(ARCHIVE_SECS) == 0, self.said.read_text()[-3000:]
        self.is_complete(names, machine)

    def is_complete(self, names: list[str], machine: Machine) -> None:
        found = self._found(machine)
        counts = found["counts"]
        assert found["status"] == "completed", found
        assert (counts["completed"], counts["failed"], counts["skipped"], counts["cached"]) == (len(names), 0, 0, 0), counts
        done = history(self.cluster, machine, self._key(machine))
        assert sorted(str(one["filename"]) for one in done) == names
        assert {one["status"] for one in done} == {"completed"}

    def _key(self, machine: Machine) -> str:
        headers = {"Authorization": self.cluster.stored_key("admin")}
        body = {"account": self.account, "name": f"reads-{uuid.uuid4().hex}"}
        answer = self.cluster.request(machine, "POST", "/operator/keys", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])


@contextmanager
def shared_dask(head: Machine, machines: list[Machine], folder: Path) -> Iterator[None]:
    """A Dask scheduler on ``head``, and a worker on each of ``machines``."""
    out = folder / "dask.out"
    started = [head.typed("fluxions archive scheduler", out)]
    try:
        one = ("--workers", "1")
        started.extend(machine.typed("fluxions archive worker", out, one, **IN_BLOCKS) for machine in machines)
        until(lambda: out.read_text().count("Registered to:") >= len(machines), "Dask's workers", ARCHIVE_SECS)
        yield
    finally:
        for process in started:
            end(process)


def end(process: Program) -> None:
    """End a program of a machine, as its operator does."""
    process.terminate()
    try:
        process.wait(STOP_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECS)


def works_on_long_file(machine: Machine) -> bool:
    """Whether a Dask worker of this machine has decoded a long recording, and is working on its blocks."""
    for pid in machine.host.pids():
        try:
            process = psutil.Process(pid)
            if any(_is_long(Path(file.path)) for file in process.open_files()):
                return "dask" in psutil.Process(process.ppid()).cmdline()
        except (psutil.Error, FileNotFoundError):
            continue
    return False


def _is_long(path: Path) -> bool:
    return path.name == "decoded.s16" and path.stat().st_size > _SHORTEST_SECS * 2 * SAMPLE_RATE_HZ
