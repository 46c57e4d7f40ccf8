"""Random walks of a real ledger on real tables, with restarts, against a model in plain Python."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.tables.row_mapping import job_from_row
from schemas.domain import JobStatus
from schemas.errors import Conflict
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, transcript

pytestmark = pytest.mark.unit

LEASE_SECS = 10.0
FIRST_WORD_SECS = LEASE_SECS / 3
MAX_ATTEMPTS = 2


@dataclass
class Modelled:
    account: str
    content: str
    status: str = "submitted"
    attempt: int = 0
    lease: str | None = None
    ends: float = 0.0
    taken_up: bool = False
    cached_from: int | None = None


class LedgerMachine(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.settings = home(self.folder, lease_secs=LEASE_SECS, max_attempts=MAX_ATTEMPTS, checkpoint_interval=5)
        self.clock = ManualClock()
        self.model: dict[int, Modelled] = {}
        self.ledger: Ledger = self.run(Ledger.open(self.settings, clock=self.clock))
        # One reader for the whole walk: it follows the ledger over restarts.
        self.history = History(Location.of(self.settings), self)

    async def changes(self, since: Any) -> Any:
        return await self.ledger.records.changes(since)

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.history.close())
        self.run(self.ledger.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(account=st.sampled_from(["ada", "bob"]), content=st.sampled_from(["one", "two"]), cache=st.booleans())
    def create(self, account: str, content: str, cache: bool) -> None:
        job = self.run(self.ledger.jobs.create(new_job(content, account=account, use_cache=cache)))
        sources = [
            i
            for i, m in self.model.items()
            if (m.account, m.content, m.status, m.cached_from) == (account, content, "completed", None)
        ]
        assert job.id == len(self.model) + 1
        entry = self.model[job.id] = Modelled(account, content)
        if cache and sources:
            entry.status = "completed"
            # Of several answers any is right, but it must be one of them.
            assert job.cached_from in sources
            entry.cached_from = job.cached_from

    @rule(target=claims)
    def claim(self) -> Any:
        claim = self.run(self.ledger.jobs.claim("worker", 0))
        waiting = [i for i, m in self.model.items() if m.status == "submitted"]
        if not waiting:
            assert claim is None
            return multiple()
        assert claim.job.id == min(waiting)
        entry = self.model[claim.job.id]
        entry.status, entry.lease, entry.ends = "processing", claim.lease, self.clock.monotonic() + FIRST_WORD_SECS
        entry.taken_up = False
        entry.attempt += 1
        return claim

    @rule(claim=claims)
    def renew(self, claim: Any) -> None:
        entry = self.model[claim.job.id]
        if entry.status == "processing" and entry.lease == claim.lease:
            self.run(self.ledger.jobs.renew(claim.job.id, claim.lease))
            entry.ends, entry.taken_up = self.clock.monotonic() + LEASE_SECS, True
        else:
            with pytest.raises(Conflict):
                self.run(self.ledger.jobs.renew(claim.job.id, claim.lease))

    @rule(claim=claims)
    def speak(self, claim: Any) -> None:
        entry = self.model[claim.job.id]
        call = self.ledger.jobs.leased(claim.job.id, claim.lease)
        if entry.status == "processing" and entry.lease == claim.lease:
            assert self.run(call).attempt == entry.attempt
            if not entry.taken_up:
                entry.ends, entry.taken_up = self.clock.monotonic() + LEASE_SECS, True
        else:
            with pytest.raises(Conflict):
                self.run(call)

    @rule(claim=claims)
    def complete(self, claim: Any) -> None:
        entry = self.model[claim.job.id]
        call = self.ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job), transcript())
        if entry.lease == claim.lease and entry.status in ("processing", "completed"):
            assert self.run(call).status is JobStatus.COMPLETED
            entry.status = "completed"
        else:
            with pytest.raises(Conflict) as caught:
                self.run(call)
            assert caught.value.code == "lease_lost"

    @rule(claim=consumes(claims), retryable=st.booleans())
    def fail(self, claim: Any, retryable: bool) -> None:
        entry = self.model[claim.job.id]
        call = self.ledger.jobs.fail(claim.job.id, claim.lease, "no speech engine", retryable)
        mine = entry.lease == claim.lease
        if mine and (entry.status == "failed" or (retryable and entry.status == "submitted")):
            assert self.run(call).status == entry.status
        elif mine and entry.status == "processing":
            entry.status = "submitted" if retryable and entry.attempt < MAX_ATTEMPTS else "failed"
            assert self.run(call).status == entry.status
        else:
            with pytest.raises(Conflict):
                self.run(call)

    @rule(claim=consumes(claims))
    def release(self, claim: Any) -> None:
        entry = self.model[claim.job.id]
        call = self.ledger.jobs.release(claim.job.id, claim.lease)
        if entry.lease == claim.lease and entry.status == "processing":
            entry.status = "submitted"
            entry.attempt -= 1
            assert self.run(call).attempt == entry.attempt
        elif entry.lease == claim.lease and entry.status == "submitted":
            assert self.run(call).attempt == entry.attempt
        else:
            with pytest.raises(Conflict):
                self.run(call)

    @rule(secs=st.sampled_from([1.0, LEASE_SECS / 2, LEASE_SECS]))
    def let_time_pass(self, secs: float) -> None:
        self.clock.advance(secs)
        self.run(self.ledger.lease_expiry.expire())
        for entry in self.model.values():
            if entry.status == "processing" and entry.ends <= self.clock.monotonic():
                if not entry.taken_up:
                    entry.attempt -= 1
                    entry.status = "submitted"
                else:
                    entry.status = "submitted" if entry.attempt < MAX_ATTEMPTS else "failed"

    @rule()
    def restart(self) -> None:
        self.run(self.ledger.close())
        self.ledger = self.run(Ledger.open(self.settings, clock=self.clock))
        for entry in self.model.values():
            entry.ends, entry.taken_up = self.clock.monotonic() + LEASE_SECS, True

    @invariant()
    def lists_tell_what_the_model_knows(self) -> None:
        for account in ("ada", "bob"):
            found = self.run(self.history.slice("transcriptions", account, 1, 3))
            total, page = found.total, [job_from_row(row) for row in found.rows]
            mine = sorted((i for i, m in self.model.items() if m.account == account), reverse=True)
            assert total == len(mine)
            assert [job.id for job in page] == mine[1:4]
            assert [(j.status, j.attempt) for j in page] == [
                (self.model[i].status, self.model[i].attempt) for i in mine[1:4]
            ]


LedgerMachine.TestCase.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
