"""kill -9 in the middle of many changes: nothing acknowledged is lost, nothing is doubled, work goes on."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from schemas.domain import JobStatus
from tests.support.lakehouse_kit import home, read_jobs
from tests.support.processes import started_async

pytestmark = pytest.mark.chaos

ROUNDS = 10
ROOT = Path(__file__).resolve().parents[2]

# Eight producers accept jobs; every second one is also carried to its end. Each acknowledged change is one line out.
VICTIM = """
import asyncio, sys
from pathlib import Path
from lakehouse.ledger.ledger import Ledger
from tests.support.lakehouse_kit import home, new_job, outcome, transcript

async def produce(ledger, name):
    count = 0
    while True:
        count += 1
        job = await ledger.jobs.create(new_job(f"{name}-{count}"))
        sys.stdout.write(f"created {job.id}\\n")
        if count % 2:
            claim = await ledger.jobs.claim("w", 5)
            done = await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())
            sys.stdout.write(f"completed {done.id}\\n")
        sys.stdout.flush()

async def main():
    ledger = await Ledger.open(home(Path(sys.argv[1]), fsync=True, checkpoint_interval=10))
    await asyncio.gather(*(produce(ledger, f"{sys.argv[2]}-{i}") for i in range(8)))

asyncio.run(main())
"""


async def run_and_kill(folder: Path, round_number: int, after_lines: int) -> list[str]:
    """Acknowledgements of a ledger that is killed once it has given ``after_lines`` of them."""
    argv = (sys.executable, "-c", VICTIM, str(folder), str(round_number))
    async with started_async(*argv, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(60):
            while len(lines) < after_lines:
                line = await process.stdout.readline()
                assert line, "the ledger ended by itself"
                lines.append(line.decode().strip())
        process.send_signal(signal.SIGKILL)
        rest = await asyncio.wait_for(process.stdout.read(), 60)
    # A last line cut short was not told to anyone.
    return lines + rest.decode().split("\n")[:-1]


async def test_no_acknowledged_change_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        acknowledged += await run_and_kill(tmp_path, number, 40 + 23 * number)
    created = [int(line.split()[1]) for line in acknowledged if line.startswith("created")]
    completed = [int(line.split()[1]) for line in acknowledged if line.startswith("completed")]
    assert len(created) > ROUNDS * 20
    assert len(set(created)) == len(created)
    assert len(set(completed)) == len(completed) > 0

    settings = home(tmp_path, fsync=True)
    ledger = await Ledger.open(settings)
    total, page = await read_jobs(ledger, "ada", 100_000, 0)
    await ledger.close()
    status = {job.id: job.status for job in page}
    assert total == len(page) == len(status)
    assert set(created) <= set(status)
    assert [job_id for job_id in completed if status[job_id] is not JobStatus.COMPLETED] == []
    # What was committed and not yet acknowledged may be there too: at most a change for each producer of each round.
    assert total <= len(created) + 8 * ROUNDS

    finished = {job_id for job_id, value in status.items() if value is JobStatus.COMPLETED}
    location = Location.of(settings)
    transcriptions = pl.scan_delta(location.table_uri("transcriptions")).select("id").collect()["id"].to_list()
    assert sorted(transcriptions) == sorted(finished)
    segments = pl.scan_delta(location.table_uri("segments")).select("id", "position").collect()
    assert segments.n_unique() == len(segments)
    events = pl.scan_delta(location.table_uri("job_events")).select("seq").collect()
    assert events["seq"].n_unique() == len(events)
