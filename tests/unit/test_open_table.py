"""Opening a table while it is written: a log in whose list commits are missing for a moment."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.tables import open_table as module
from lakehouse.tables.delta_log import entry_path
from lakehouse.tables.open_table import open_table

pytestmark = pytest.mark.unit


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for number in range(5):
        write_deltalake(str(tmp_path / "table"), pa.table({"n": [number]}), mode="append")
    return tmp_path / "table"


def test_a_list_with_a_gap_is_read_again(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, hidden = table / entry_path(2), table / "hidden"
    entry.rename(hidden)
    monkeypatch.setattr(module.time, "sleep", lambda _: hidden.rename(entry))
    assert open_table(str(table)).version() == 4


def test_a_gap_that_stays_is_an_error(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (table / entry_path(2)).unlink()
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    with pytest.raises(DeltaError, match="gap"):
        open_table(str(table))
    assert len(pauses) == 9


def test_other_errors_are_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: pytest.fail("it waited"))
    with pytest.raises(TableNotFoundError):
        open_table(str(tmp_path / "nothing"))
