"""kill -9 of a ledger that writes everything it writes while it merges, forgets and tidies: nothing is lost or doubled.

``FLUXIONS_KILL_ROUNDS`` says how often it is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.location import Location
from lakehouse.tables.file_replacement import data_files
from schemas.tables import TABLES
from tests.support.lakehouse_kit import home, until_projected
from tests.support.processes import started_async

pytestmark = pytest.mark.chaos

ROUNDS = int(os.environ.get("FLUXIONS_KILL_ROUNDS", "5"))
ROOT = Path(__file__).resolve().parents[2]
POLICY = MergePolicy(min_tail_files=3, file_rows=60)
PRODUCERS = 6

# Each acknowledged change is one line out. Every third job is deleted again; maintenance never rests.
VICTIM = """
import asyncio, datetime as dt, sys
from pathlib import Path
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result
from schemas.records import Conversation, ConversationTurn
from tests.support.lakehouse_kit import home, new_job, outcome, transcript

NOW = dt.datetime.now(dt.UTC)

def say(*words):
    print(*words, flush=True)

async def produce(ledger, objects, name):
    count = 0
    while True:
        count += 1
        job = await ledger.jobs.create(new_job(f"{name}-{count}"))
        say("created", job.id)
        claim = await ledger.jobs.claim("w", 5)
        key = lease_key(claim.job, claim.lease)
        await put_result(objects, key, transcript())
        done = await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job, result_key=key), transcript())
        say("completed", done.id)
        if count % 3 == 0:
            say("deleting", done.id)
            await ledger.jobs.delete("ada", done.id)
            say("deleted", done.id)
        session = f"sess_{name}{count}"
        await ledger.records.add_conversation(
            Conversation("ada", session, NOW), [ConversationTurn("user", session, NOW) for _ in range(3)]
        )
        say("conversed", session)

async def tidy(ledger):
    while True:
        for task in ("merge", "retention", "checkpoint"):
            report = await ledger.maintenance.run(task, 60)
            say("maintained", task, sum(report.counts.values()))

async def main():
    settings = home(Path(sys.argv[1]), fsync=True, checkpoint_interval=10)
    storage = settings.storage.model_copy(update={"event_retention_days": 0.0})
    settings = settings.model_copy(update={"storage": storage})
    ledger = await Ledger.open(settings, merge_policy=MergePolicy(min_tail_files=3, file_rows=60))
    objects = Objects.of(settings)
    await asyncio.gather(
        *(produce(ledger, objects, f"{sys.argv[2]}-{i}") for i in range(int(sys.argv[3]))), tidy(ledger)
    )

asyncio.run(main())
"""


async def run_and_kill(folder: Path, number: int, chance: random.Random) -> list[list[str]]:
    """Acknowledgements of a ledger that is killed at some moment of its life."""
    argv = (sys.executable, "-c", VICTIM, str(folder), str(number), str(PRODUCERS))
    async with started_async(*argv, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(90):
            for _ in range(chance.randrange(20, 160)):
                line = await process.stdout.readline()
                assert line, "the ledger ended by itself"
                lines.append(line.decode().strip())
        # Somewhere within the next commits, not right after one.
        await asyncio.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        rest = await asyncio.wait_for(process.stdout.read(), 60)
    # A last line cut short was not told to anyone.
    return [line.split() for line in lines + rest.decode().split("\n")[:-1]]


async def test_kills_amid_maintenance_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(20260629)
    told: list[list[str]] = []
    for number in range(ROUNDS):
        told += await run_and_kill(tmp_path, number, chance)
    said = {word: [line[1] for line in told if line[0] == word] for word in ("created", "completed", "deleting", "deleted")}
    sessions = [line[1] for line in told if line[0] == "conversed"]
    work = Counter({line[1]: int(line[2]) for line in told if line[0] == "maintained"})
    assert work["merge"], "no merge ever did anything"
    assert len(said["created"]) == len(set(said["created"])) > 2 * ROUNDS

    settings = home(tmp_path, fsync=True)
    ledger = await Ledger.open(settings, merge_policy=POLICY)
    try:
        await until_projected(ledger)
        report = await ledger.maintenance.run("merge", 60)
        assert report is not None
        history = History(Location.of(settings), ledger.records)
        page = await history.page("transcriptions", "ada", limit=10**6)
        talks = await history.page("conversations", "ada", limit=10**6)
        await history.close()
    finally:
        await ledger.close()
    check_jobs({row["id"]: row["status"] for row in page.rows}, page.total, said)
    found = Counter(row["session_id"] for row in talks.rows)
    assert set(sessions) <= set(found)
    assert len(found) <= len(sessions) + PRODUCERS * ROUNDS
    assert set(found.values()) == {1}
    check_tables(Location.of(settings), set(found))
    segments = pl.scan_delta(Location.of(settings).table_uri("segments")).group_by("id").len().collect()
    finished = {row["id"] for row in page.rows if row["status"] == "completed"}
    assert set(segments["id"]) == finished
    assert set(segments["len"]) == {2}


def check_jobs(status: dict[int, str], total: int, said: dict[str, list[str]]) -> None:
    created, completed, deleting, deleted = ({int(i) for i in said[word]} for word in said)
    assert total == len(status)
    assert created - deleting <= set(status)
    assert not deleted & set(status)
    assert {i for i in completed - deleting if status[i] != "completed"} == set()
    # What was committed and not yet acknowledged may be there too: at most one change of each producer and life.
    assert len(set(status) - created) <= PRODUCERS * ROUNDS


def check_tables(location: Location, sessions: set[str]) -> None:
    """No table holds a row twice, and maintenance has kept the files few."""
    identity = {
        "job_events": ["seq"],
        "transcriptions": ["id", "revision"],
        "segments": ["id", "revision", "position"],
        "turns": ["id"],
        "conversations": ["id"],
    }
    for name, columns in identity.items():
        rows = pl.scan_delta(location.table_uri(name)).select(columns).collect()
        assert rows.n_unique() == rows.height, name
    turns = pl.scan_delta(location.table_uri("turns")).group_by("session_id").len().collect()
    assert set(turns["len"]) == {3}
    assert sessions <= set(turns["session_id"])
    for table in TABLES:
        small = [file for file in data_files(location.table_uri(table.name), table) if file.run is None]
        assert len(small) < POLICY.min_tail_files, table.name
