"""The benchmark of maintenance: it commits what it says, runs what is due, and loses no row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.storage.maintenance import SimulatedLoad, intervals, measure
from lakehouse.ledger.maintenance import TASKS
from lakehouse.tables.group_commit import MAX_COMMIT_ROWS
from tests.support.processes import ROOT

pytestmark = pytest.mark.integration


def test_every_task_has_a_schedule() -> None:
    found = intervals((ROOT / "prefect.yaml").read_text())
    assert set(found) == set(TASKS)
    assert (found["merge"], found["vacuum"], found["retention"]) == (600.0, 3600.0, 86_400.0)


def test_a_simulated_hour(tmp_path: Path) -> None:
    load, notes = SimulatedLoad(hours=1.0, rows_per_sec=500.0, scale=1024), list[str]()
    found = {one.name: one.value for one in measure(tmp_path, load, notes.append)}
    assert found["commits"] == 3600 * 500 // MAX_COMMIT_ROWS + 1
    assert load.rows == 16
    stored = pl.scan_delta(str(tmp_path / "data" / "tables" / "tts_renders")).select(pl.len()).collect().item()
    assert stored == found["rows committed"] == found["commits"] * 16
    assert found["rounds of maintenance"] >= 6
    assert found["files of the newest version after 1 h"] < found["commits"], "nothing was merged"
    assert found["log entries after 1 h"] > found["commits"]
    assert found["merge, longest, first quarter"] > 0
    assert notes
