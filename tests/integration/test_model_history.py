"""Random walks of ledger, maintenance and reader together against a plain dict: whatever the order, they tell the same."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result
from schemas.errors import NotFound
from schemas.records import Conversation, ConversationTurn
from schemas.tables import TABLES
from tests.support.lakehouse_kit import home, new_job, outcome, transcript, until_projected

pytestmark = pytest.mark.integration

ACCOUNTS = ("ada", "bob")
POLICY = MergePolicy(min_tail_files=2, file_rows=4)


@dataclass
class Modelled:
    account: str
    content: str
    status: str
    result_key: str | None = None
    cached: bool = False


class HistoryMachine(RuleBasedStateMachine):
    """One reader lives through all of it, as a gateway's does; another is opened at each restart."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        plain = home(self.folder, checkpoint_interval=5)
        # What needs hours to age in a home is old at once here.
        storage = plain.storage.model_copy(update={"event_retention_days": 0.0, "orphan_hours": 0.0})
        self.settings = plain.model_copy(update={"storage": storage})
        self.location = Location.of(self.settings)
        self.objects = Objects.of(self.settings)
        self.jobs: dict[int, Modelled] = {}
        self.sessions: dict[str, list[str]] = {account: [] for account in ACCOUNTS}
        self.open()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def open(self) -> None:
        self.ledger: Ledger = self.run(Ledger.open(self.settings, merge_policy=POLICY))
        self.history = History(self.location, self.ledger.records, index_folder=self.folder / "indexes")

    def close(self) -> None:
        self.run(self.history.close())
        self.run(self.ledger.close())

    def teardown(self) -> None:
        self.check_all()
        self.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(account=st.sampled_from(ACCOUNTS), content=st.sampled_from("xyz"), again=st.booleans())
    def submit(self, account: str, content: str, again: bool) -> None:
        """``again``: a cached result is not welcome, so the recording is processed once more."""
        new = new_job(content, account=account, use_cache=not again)
        self.run(self.objects.put_bytes(new.audio_key, content.encode()))
        job = self.run(self.ledger.jobs.create(new))
        made = [m for m in self.jobs.values() if m.status == "completed" and not m.cached]
        done = {m.result_key for m in made if (m.account, m.content) == (account, content)}
        assert job.id == max(self.jobs, default=0) + 1
        assert job.status.value == ("completed" if done and not again else "submitted")
        assert job.result_key is None or job.result_key in done
        self.jobs[job.id] = Modelled(account, content, job.status.value, job.result_key, job.cached)

    @rule(fails=st.booleans())
    def finish(self, fails: bool) -> None:
        claim = self.run(self.ledger.jobs.claim("worker", 0))
        waiting = [i for i, m in self.jobs.items() if m.status == "submitted"]
        assert (claim is None) == (not waiting)
        if claim is None:
            return
        assert claim.job.id == min(waiting)
        entry = self.jobs[claim.job.id]
        if fails:
            self.run(self.ledger.jobs.fail(claim.job.id, claim.lease, "no speech", retryable=False))
            entry.status = "failed"
            return
        said = transcript(f"Job {claim.job.id}.")
        entry.status, entry.result_key = "completed", lease_key(claim.job, claim.lease)
        self.run(put_result(self.objects, entry.result_key, said))
        result = outcome(claim.job, result_key=entry.result_key, playback_key=None)
        self.run(self.ledger.jobs.complete(claim.job.id, claim.lease, result, said))

    @rule(account=st.sampled_from(ACCOUNTS), which=st.integers(0, 30))
    def delete(self, account: str, which: int) -> None:
        job_id = which % (max(self.jobs, default=0) + 1)
        entry = self.jobs.get(job_id)
        if entry is None or entry.account != account or entry.status == "deleted":
            with pytest.raises(NotFound):
                self.run(self.ledger.jobs.delete(account, job_id))
            return
        self.run(self.ledger.jobs.delete(account, job_id))
        entry.status = "deleted"

    @rule(account=st.sampled_from(ACCOUNTS), twice=st.booleans())
    def converse(self, account: str, twice: bool) -> None:
        session = f"sess_{account}{len(self.sessions[account])}"
        now = dt.datetime.now(dt.UTC)
        turns = [ConversationTurn("user", f"I am {session}.", now), ConversationTurn("assistant", "Good.", now)]
        for _ in range(1 + twice):
            self.run(self.ledger.records.add_conversation(Conversation(account, session, now), turns))
        self.sessions[account].append(session)

    @rule(task=st.sampled_from(["merge", "merge", "retention", "checkpoint", "orphans"]))
    def maintain(self, task: str) -> None:
        assert self.run(self.ledger.maintenance.run(task, 30)) is not None

    @rule()
    def vacuum(self) -> None:
        # As a day later: no file that only older versions name is left.
        self.settle()
        for table in TABLES:
            DeltaTable(self.location.table_uri(table.name)).vacuum(
                0, dry_run=False, enforce_retention_duration=False, full=True
            )

    @rule()
    def restart(self) -> None:
        self.close()
        self.open()

    @rule(account=st.sampled_from(ACCOUNTS), start=st.integers(1, 3), status=st.sampled_from([None, "completed", "failed"]))
    def read(self, account: str, start: int, status: str | None) -> None:
        wanted = [
            i
            for i, m in self.jobs.items()
            if m.account == account and m.status != "deleted" and (status is None or m.status == status)
        ]
        filters = {"status": status} if status else None
        page = self.run(self.history.page("transcriptions", account, page=start, limit=3, filters=filters))
        assert page.total == len(wanted)
        expected = sorted(wanted, reverse=True)[3 * (start - 1) : 3 * start]
        assert [row["id"] for row in page.rows] == expected
        assert [(r["status"], r["result_key"]) for r in page.rows] == [
            (self.jobs[i].status, self.jobs[i].result_key) for i in expected
        ]
        self.read_conversations(account)

    def read_conversations(self, account: str) -> None:
        mine = self.sessions[account]
        page = self.run(self.history.page("conversations", account, limit=100, order="asc"))
        assert [row["session_id"] for row in page.rows] == mine
        if mine:
            turns = self.run(self.history.turns(account, mine[0], 10))
            assert [turn["text"] for turn in turns] == [f"I am {mine[0]}.", "Good."]

    def settle(self) -> None:
        async def projected() -> None:
            await until_projected(self.ledger)
            await self.ledger.maintenance.run("checkpoint", 30)

        self.run(projected())

    def check_all(self) -> None:
        self.settle()
        for account in ACCOUNTS:
            self.read(account, 1, None)
        for job_id, entry in self.jobs.items():
            row = self.run(self.history.get("transcriptions", entry.account, job_id))
            assert (row is None) == (entry.status == "deleted")
            needed = {m.result_key for m in self.jobs.values() if m.status == "completed"}
            if entry.result_key is not None:
                assert self.run(self.objects.exists(entry.result_key)) == (entry.result_key in needed)
            if entry.status != "deleted":
                assert self.run(self.objects.exists(new_job(entry.content, account=entry.account).audio_key))


HistoryMachine.TestCase.settings = settings(
    max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistoryMachine = HistoryMachine.TestCase
