"""A ledger is paused (SIGSTOP), another takes over, and the paused one goes on (SIGCONT): it commits nothing more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import boto3
import pytest

from lakehouse.ledger.ledger import Ledger
from schemas.cluster_settings import ClusterSettings
from tests.support.lakehouse_kit import home, new_job, read_jobs
from tests.support.paused_ledger import LEASE_SECS
from tests.support.processes import s3_environment, s3_server, started

pytestmark = pytest.mark.chaos

PAUSES = {"bucket": 1, "shared folder": 2}
FAIL_OVER_SECS = 20.0


@pytest.fixture(params=["bucket", "shared folder"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "shared folder":
        yield str(tmp_path / "shared")
        return
    with s3_server() as endpoint:
        for name, value in s3_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="paused")
        yield "s3://paused/home"


def acknowledged(lines: IO[str], count: int) -> dict[int, str]:
    found: dict[int, str] = {}
    while len(found) < count:
        line = lines.readline()
        assert line, "the ledger ended"
        number, _, name = line.strip().partition(" ")
        found[int(number)] = name
    return found


async def test_a_paused_ledger_commits_nothing_after_another_took_over(
    storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = home(tmp_path / "new", storage_url=storage).model_copy(
        update={"cluster": ClusterSettings(ledger_lease_secs=LEASE_SECS, shared_storage=True)}
    )
    every: dict[int, str] = {}
    for _ in range(PAUSES[request.node.callspec.params["storage"]]):
        command = [sys.executable, "-m", "tests.support.paused_ledger", str(tmp_path / "old"), storage]
        with started(command, stdout=subprocess.PIPE, text=True) as old:
            assert old.stdout is not None
            every |= acknowledged(old.stdout, 5)
            old.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            new = await Ledger.open(settings)
            job = await new.jobs.create(new_job(f"new {len(every)}"))
            assert time.monotonic() - began < FAIL_OVER_SECS
            old.send_signal(signal.SIGCONT)
            rest = old.stdout.read().splitlines()  # it ends by itself
            assert old.wait(FAIL_OVER_SECS) == 0
            # What it had acknowledged before the pause may have waited in the pipe.
            every |= {int(line.split(" ", 1)[0]): line.split(" ", 1)[1] for line in rest if line != "lost"}
            assert rest[-3:] == ["lost"] * 3
            assert job.id not in every, "an id was given twice"
            every[job.id] = job.filename
            total, jobs = await read_jobs(new, "ada", 1000, 0)
            found = {one.id: one.filename for one in jobs}
            assert total == len(jobs) == len(found)
            assert found.items() >= every.items(), "an acknowledged job is missing"
            await new.close()
