"""The exchange of a merge's files costs as little in a large, old table as in a new one, and is refused when it must be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakehouse.maintenance import merge
from lakehouse.maintenance.merge import MergePolicy, merge_step
from lakehouse.storage.location import Location
from lakehouse.tables import delta_writer
from lakehouse.tables.delta_writer import DeltaWriter
from lakehouse.tables.file_replacement import DataFile, FileReplacement, newest_files, scan_files
from schemas.tables import Table

pytestmark = pytest.mark.unit

FIELDS = [pa.field("id", pa.int64(), nullable=False), pa.field("account", pa.string(), nullable=False)]
TABLE = Table("numbers", "numbers of accounts", pa.schema(FIELDS), ("id", "account"))


def writer(folder: Path, retention_hours: int | None = None) -> DeltaWriter:
    return DeltaWriter(
        TABLE,
        Location(str(folder), False),
        app_id="test",
        checkpoint_interval=20,
        guard=lambda: None,
        retention_hours=retention_hours,
    )


def commit(to: DeltaWriter, *ids: int, account: str = "ada") -> None:
    to.commit([{"id": number, "account": account} for number in ids], to.txn_version + 1)


def step(to: DeltaWriter, file_rows: int = 20) -> FileReplacement | None:
    policy = MergePolicy(min_tail_files=2, file_rows=file_rows)
    return merge_step(to.uri, Location(str(Path(to.uri).parents[1]), False).store("tables/numbers"), TABLE, policy)


def ids(of: DeltaWriter) -> list[int]:
    return sorted(pl.read_delta(of.uri)["id"].to_list())


def test_an_exchange_reads_no_table_and_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = writer(tmp_path)
    for number in range(4):
        commit(one, number)
    change = step(one)
    assert change is not None
    commit(one, 4)
    with monkeypatch.context() as patched:
        patched.setattr(delta_writer, "open_table", None)
        assert one.replace_files(change)
    assert ids(one) == [0, 1, 2, 3, 4]
    _, files = newest_files(one.uri, TABLE)
    assert sorted(file.num_rows for file in files) == [1, 4]
    # As delta-rs reads it: the removed files are tombstones, and statistics are there.
    handle = DeltaTable(one.uri)
    assert handle.version() == one.version
    assert pl.DataFrame(handle.get_add_actions(flatten=True))["max.id"].sort().to_list() == [3, 4]
    handle.vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert len(list(Path(one.uri).glob("*.parquet"))) == 2


def test_an_exchange_is_refused_if_one_of_its_files_has_gone(tmp_path: Path) -> None:
    one = writer(tmp_path)
    for number in range(3):
        commit(one, number)
    change = step(one)
    assert change is not None
    one.delete("id = 99")
    assert one.replace_files(change), "nothing was deleted"
    assert not one.replace_files(change), "its files were exchanged before"
    commit(one, 3)
    commit(one, 4)
    later = step(one)
    assert later is not None
    one.delete("id = 4")
    assert not one.replace_files(later)
    assert ids(one) == [0, 1, 2, 3]
    commit(one, 5)
    again = step(one)
    assert again is not None
    # A program of the operator's removes a row behind the writer's back.
    DeltaTable(one.uri).delete("id = 3")
    assert not one.replace_files(again)
    assert ids(one) == [0, 1, 2, 5]


def test_a_writer_that_opened_the_table_later_asks_it(tmp_path: Path) -> None:
    one = writer(tmp_path)
    for number in range(3):
        commit(one, number)
    change = step(one)
    assert change is not None
    one.delete("id = 1")
    assert not writer(tmp_path).replace_files(change)
    assert ids(one) == [0, 2]


def test_a_table_of_one_account_is_merged_by_reading_each_file_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, read = writer(tmp_path), 0

    def counted(uri: str, files: Sequence[DataFile], table: Table) -> pl.LazyFrame:
        nonlocal read
        read += len(files)
        return scan_files(uri, files, table)

    policy = MergePolicy(min_tail_files=2, file_rows=16)
    for start in range(0, 640, 16):
        commit(one, *range(start, start + 16))
    while (change := step(one, policy.file_rows)) is not None:
        one.replace_files(change)
    for start in range(640, 1280, 16):
        commit(one, *range(start, start + 16))
    monkeypatch.setattr(merge, "scan_files", counted)
    files = 0
    while (change := step(one, policy.file_rows)) is not None:
        one.replace_files(change)
        files += len(change.removed)
    assert ids(one) == list(range(1280))
    assert read < 5 * files


def test_checkpoints_forget_removed_files_after_the_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = writer(tmp_path)
    commit(plain, 1)
    kept = writer(tmp_path, retention_hours=3)
    found = DeltaTable(kept.uri).metadata().configuration
    assert (found["delta.deletedFileRetentionDuration"], found["delta.logRetentionDuration"]) == (
        "interval 3 hours",
        "interval 6 hours",
    )
    version = kept.version
    assert writer(tmp_path, retention_hours=3).version == version, "what is set is not set again"
    commit(kept, 2)
    now = time.time()
    removed = 0
    for hours in (4, 2):
        change = step(kept)
        assert change is not None
        removed = len(change.removed)
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda hours=hours: now - hours * 3600)
            assert kept.replace_files(change)
        commit(kept, 10 + hours)
        commit(kept, 20 + hours)
    kept.write_checkpoint()
    checkpoint = max(Path(kept.uri, "_delta_log").glob("*.checkpoint*.parquet"))
    named = pl.read_parquet(checkpoint).select(pl.col("remove").struct.field("path")).drop_nulls().height
    assert named == removed >= 2, "those of four hours ago are forgotten"
    assert ids(kept) == [1, 2, 12, 14, 22, 24]
