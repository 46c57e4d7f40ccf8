"""Indexes in mapped files are those that were built, are built once, and are built again where a file is of no use."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.history import snapshot as snapshots
from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.row_index import RowIndex, hashes, index_rows
from lakehouse.history.snapshot import Snapshot
from lakehouse.tables.index_specs import INDEX_SPECS, IndexSpec
from tests.unit.test_snapshot import render, write

pytestmark = pytest.mark.unit

START = dt.datetime(2026, 6, 29, tzinfo=dt.UTC)
ACCOUNTS = ("ada", "bob", "zoë", "日本", "")


def frame(name: str, count: int) -> pl.DataFrame:
    """Rows in no order, with revisions, deleted ones and missing values."""
    numbers = range(count)
    return pl.DataFrame(
        {
            "account": [ACCOUNTS[n * 7 % 5] for n in numbers],
            "id": [n // 2 for n in numbers],
            "created_at": [START + dt.timedelta(seconds=n * 13 % 40) for n in numbers],
            "status": [("completed", "deleted", "failed")[n % 3] for n in numbers],
            "voice": [(f"voice {n % 4}", None)[n % 2] for n in numbers],
            "session_id": [f"session {n % 9}" for n in numbers],
            "revision": [n % 2 for n in numbers],
        },
        schema_overrides={"created_at": pl.Datetime("us", "UTC"), "revision": pl.Int32, "status": pl.String},
    ).select(INDEX_SPECS[name].columns)


def never() -> RowIndex:
    raise AssertionError("it was built already")


def same(one: RowIndex, two: RowIndex) -> None:
    for field in fields(RowIndex):
        if field.name != "is_mapped":
            left, right = getattr(one, field.name), getattr(two, field.name)
            assert (left is None) == (right is None), field.name
            assert left is None or np.array_equal(list(left), list(right)), field.name
            assert not isinstance(left, np.ndarray) or left.dtype == right.dtype, field.name


@pytest.mark.parametrize("spec", INDEX_SPECS.values(), ids=lambda spec: spec.table)
@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_mapped_index_is_the_one_that_was_built(tmp_path: Path, spec: IndexSpec, count: int) -> None:
    built = index_rows(frame(spec.table, count), spec)
    mapped = IndexFiles(tmp_path / "indexes").index_of("s3://bucket/one.parquet", lambda: built)
    again = IndexFiles(tmp_path / "indexes").index_of("s3://bucket/one.parquet", never)
    for index in (mapped, again):
        same(built, index)
        assert index.is_mapped
        assert index.num_bytes == 0
    for account in (*ACCOUNTS, "eve"):
        assert again.span(account) == built.span(account)
    if spec.hashed and count == 100:
        assert np.isin(hashes(pl.Series(["session 3"])), again.hashes).all()


def test_a_file_of_no_use_is_written_again(tmp_path: Path) -> None:
    spec = INDEX_SPECS["tts_renders"]
    built = index_rows(frame(spec.table, 50), spec)
    indexes = IndexFiles(tmp_path)
    indexes.index_of("one", lambda: built)
    (path,) = tmp_path.glob("*.rows")
    whole = path.read_bytes()
    for content in (b"", whole[:-64], whole[:64], b"fluxions row index 0\n" + whole[21:]):
        path.unlink()
        path.write_bytes(content)
        same(built, indexes.index_of("one", lambda: built))
        assert path.read_bytes() == whole


def test_an_index_that_cannot_be_stored_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    built = index_rows(frame("turns", 50), INDEX_SPECS["turns"])
    assert IndexFiles(tmp_path / "file" / "below").index_of("one", lambda: built) is built


def test_indexes_of_files_that_are_gone_go_too(tmp_path: Path) -> None:
    built = index_rows(frame("turns", 50), INDEX_SPECS["turns"])
    indexes = IndexFiles(tmp_path)
    mapped = [indexes.index_of(uri, lambda: built) for uri in ("one", "two")]
    unfinished, left = tmp_path / "new-1", tmp_path / "new-2"
    unfinished.touch()
    left.touch()
    os.utime(left, (0, 0))
    indexes.keep(["two"])
    assert len(list(tmp_path.glob("*.rows"))) == 1
    assert not left.exists()
    assert unfinished.exists(), "another process may be writing it"
    same(built, mapped[0])
    same(built, indexes.index_of("two", never))


def test_snapshots_share_the_indexes_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SMALL_FILE_ROWS", 0)
    uri = write(tmp_path, "tts_renders", [render(n) for n in range(1, 30)], [render(n, "bob") for n in range(30, 40)])
    folder = tmp_path / "indexes"
    one = Snapshot.open(uri, "tts_renders", RowGroupCache(), indexes=IndexFiles(folder))
    two = Snapshot.open(uri, "tts_renders", RowGroupCache(), indexes=IndexFiles(folder))
    plain = Snapshot.open(uri, "tts_renders", RowGroupCache())
    assert len(list(folder.glob("*.rows"))) == 2
    assert one.num_bytes == two.num_bytes == 0 < plain.num_bytes
    for account, row_id in (("ada", 7), ("bob", 33), ("ada", 33), ("eve", 1)):
        assert one.row(account, row_id) == two.row(account, row_id) == plain.row(account, row_id)
    DeltaTable(uri).optimize.compact()
    merged = Snapshot.open(uri, "tts_renders", RowGroupCache(), one, IndexFiles(folder))
    assert len(list(folder.glob("*.rows"))) == 1
    assert merged.row("bob", 33) == one.row("bob", 33)
