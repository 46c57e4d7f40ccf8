"""What the ledger keeps in memory of finished jobs and acknowledged rows is bounded by number and by age."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from lakehouse.ledger import change_log, job_lookup, records
from lakehouse.ledger.change_log import ChangeLog, Position
from lakehouse.ledger.ledger import Ledger
from lakehouse.ledger.retained import Retained
from lakehouse.tables.table_reader import TranscriptionReader
from schemas.domain import Job
from schemas.records import TtsRender
from tests.support.lakehouse_kit import ManualClock, home, new_job, outcome, transcript, until_projected

pytestmark = pytest.mark.integration


def _kept(log: ChangeLog, position: Position) -> int:
    changes = log.since(position)
    return -1 if changes is None else len(changes.rows)


def test_rows_are_kept_by_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "LOG_ROWS", Retained(least=2, most=5, secs=60.0))
    clock = ManualClock()
    log = ChangeLog("epoch", clock)
    positions = [log.position]
    for number in range(4):
        log.add([{"id": number}])
        positions.append(log.position)
    assert _kept(log, positions[0]) == 4, "young rows below the greatest number stay"
    clock.advance(61)
    log.add([{"id": 4}])
    assert _kept(log, positions[3]) == 2, "the newest two stay, however old"
    assert _kept(log, positions[2]) == -1, "a reader behind what was forgotten opens the table again"
    log.add([{"id": number} for number in range(5, 12)])
    assert [_kept(log, Position("epoch", count)) for count in (7, 6)] == [5, -1], "never more than the greatest number"
    log.restart()
    log.add([{"id": 12}])
    assert _kept(log, Position(log.position.epoch, 12)) == 1


async def test_finished_jobs_are_kept_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_lookup, "RECENT_JOBS", Retained(least=1, most=8, secs=60.0))
    reads: list[int] = []
    read = TranscriptionReader.job

    def counted(self: TranscriptionReader, job_id: int, version: int) -> Job | None:
        reads.append(job_id)
        return read(self, job_id, version)

    monkeypatch.setattr(TranscriptionReader, "job", counted)
    clock = ManualClock()
    ledger = await Ledger.open(home(tmp_path), clock=clock)
    try:
        for number in range(3):
            await _finish(ledger, number)
        assert [(await ledger._lookup.owned("ada", job_id)).id for job_id in (1, 2, 3)] == [1, 2, 3]
        assert reads == []
        clock.advance(61)
        await _finish(ledger, 3)
        assert [(await ledger._lookup.owned("ada", job_id)).id for job_id in (4, 2)] == [4, 2]
        assert reads == [2]
    finally:
        await ledger.close()


async def test_recorded_renders_are_kept_as_their_ids_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECENT", 8)
    renders = [
        TtsRender("ada", "maeve", f"Say {n}.", 6, 1.5, 0.0, None, "espeak-1", 0.9, import_key=f"render-{n}")
        for n in range(12)
    ]
    ledger = await Ledger.open(home(tmp_path))
    try:
        ids = await ledger.records.add_renders(renders)
        assert await ledger.records.add_renders(renders[-8:]) == ids[-8:]
        assert [key for _, key in ledger.records._recent] == [f"render-{n}" for n in range(4, 12)]
        gc.collect()
        tasks = [one for one in gc.get_objects() if type(one) is asyncio.Task and one.done()]
        assert [one for one in tasks if "render" in f"{one.get_coro()}"] == []
    finally:
        await ledger.close()


async def _finish(ledger: Ledger, number: int) -> None:
    await ledger.jobs.create(new_job(str(number)))
    claim = await ledger.jobs.claim("worker", 1.0)
    assert claim is not None
    job = claim.job
    await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
    await until_projected(ledger)
