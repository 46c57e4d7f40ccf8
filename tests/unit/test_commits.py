"""Group commit on real Delta tables: order, durability, errors before and after the commit, checkpoints."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from lakehouse.storage.location import Location
from lakehouse.tables import delta_writer
from lakehouse.tables.delta_writer import DeltaWriter, Row
from lakehouse.tables.group_commit import TableWriter
from schemas.errors import Conflict, Unavailable
from schemas.tables import Table

pytestmark = pytest.mark.unit

TABLE = Table("numbers", "one number", pa.schema([pa.field("id", pa.int64(), nullable=False)]), ("id",))


async def open_writer(folder: Path, *, interval: int = 20, fsync: bool = False, **extra: object) -> TableWriter:
    return await TableWriter.open(
        TABLE,
        Location(str(folder), fsync),
        app_id="test",
        checkpoint_interval=interval,
        **extra,  # type: ignore[arg-type]
    )


def ids(writer: TableWriter) -> list[int]:
    return sorted(DeltaTable(writer.uri).to_pyarrow_table()["id"].to_pylist())


def file_sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("part-*.parquet")]


def inodes(writer: TableWriter) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in Path(writer.uri).rglob("*") if path.is_file()}


class Unlucky(DeltaWriter):
    """A real writer whose commits succeed, but whose answers are lost ``losing`` times, as over a broken network."""

    losing = 0

    def _write(self, data: pa.Table, txn_version: int) -> None:
        before = self.version, self.txn_version
        super()._write(data, txn_version)
        if self.losing:
            self.losing -= 1
            self.version, self.txn_version = before
            raise ConnectionError("the answer was lost")


def unlucky_writer(folder: Path) -> tuple[Unlucky, TableWriter]:
    delta_writer = Unlucky(TABLE, Location(str(folder), False), app_id="test", checkpoint_interval=20, guard=lambda: None)
    return delta_writer, TableWriter(delta_writer, ThreadPoolExecutor(1))


@pytest.mark.parametrize("fsync", [False, True])
async def test_rows_that_arrive_during_a_commit_share_the_next_one(tmp_path: Path, fsync: bool) -> None:
    writer = await open_writer(tmp_path, fsync=fsync)
    versions = await asyncio.gather(*(writer.append([{"id": i}]) for i in range(200)))
    assert ids(writer) == list(range(200))
    assert versions == sorted(versions)
    assert max(versions) <= 3
    await writer.close()


async def test_what_could_not_be_flushed_is_written_anew_before_anything_else_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await open_writer(tmp_path, fsync=True)
    await writer.append([{"id": 0}])
    is_failing, fsync = [True], os.fsync

    def failing(fd: int) -> None:
        if is_failing:
            raise OSError(errno.EIO, "the disk failed")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Unavailable):
        await writer.append([{"id": 1}])
    files = inodes(writer)
    with pytest.raises(Unavailable):
        await writer.append([{"id": 2}])
    assert inodes(writer).keys() == files.keys(), "nothing more is written"
    is_failing.clear()
    await writer.append([{"id": 3}])
    assert ids(writer) == [0, 1, 3]
    anew = [path for path, inode in inodes(writer).items() if path in files and inode != files[path]]
    assert sorted(path.suffix for path in anew) == [".json", ".parquet"], "the data and the log entry of the failed flush"
    await writer.close()


async def test_a_row_is_there_when_append_answers_and_after_reopening(tmp_path: Path) -> None:
    for start in (0, 10):
        writer = await open_writer(tmp_path)
        for i in range(start, start + 10):
            await writer.append([{"id": i}])
            assert max(ids(writer)) == i
        await writer.close()
    assert ids(writer) == list(range(20))


async def test_checkpoints_are_written_beside_commits(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path, interval=5, fsync=True)
    log = Path(writer.uri) / "_delta_log"
    checkpoints: set[Path] = set()
    for i in range(23):
        await writer.append([{"id": i}])
        if i % 7 == 6:
            # One that falls due while another is being written is passed over: let each be written.
            async with asyncio.timeout(30):
                while checkpoints == (found := set(log.glob("*.checkpoint.parquet"))):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            checkpoints = found
    await writer.close()
    assert len(set(log.glob("*.checkpoint.parquet"))) >= 3
    assert ids(writer) == list(range(23))


def test_checkpoints_get_rarer_as_a_table_gets_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta_writer, "_ACTIONS_A_COMMIT", 1)

    def opened() -> DeltaWriter:
        location = Location(str(tmp_path), False)
        return DeltaWriter(TABLE, location, app_id="test", checkpoint_interval=4, guard=lambda: None)

    writer, written = opened(), []
    for number in range(100):
        if number == 50:
            writer = opened()
        writer.commit([{"id": number}], number)
        if writer.checkpoint_is_due:
            writer.write_checkpoint()
            written.append(writer.checkpointed)
    # Each follows as many commits as the one before has actions: files, protocol, metadata and a transaction.
    assert written == [4, 11, 25, 53]
    (Path(writer.uri) / "_delta_log" / "_last_checkpoint").write_bytes(b"")
    assert opened().checkpoint_is_due


async def test_close_commits_what_is_queued_and_then_refuses(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    queued = [writer.append([{"id": i}]) for i in range(5)]
    await writer.close()
    assert all(q.done() for q in queued)
    assert ids(writer) == [0, 1, 2, 3, 4]
    with pytest.raises(Unavailable):
        writer.append([{"id": 9}])


async def test_a_cancelled_caller_does_not_affect_others(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    gone, stays = writer.append([{"id": 1}]), writer.append([{"id": 2}])
    gone.cancel()
    await stays
    assert ids(writer) == [1, 2]
    await writer.close()


async def test_a_commit_whose_answer_was_lost_is_not_repeated(tmp_path: Path) -> None:
    delta_writer, writer = unlucky_writer(tmp_path)
    delta_writer.losing = 1
    await writer.append([{"id": 1}])
    await writer.append([{"id": 2}])
    assert ids(writer) == [1, 2]
    await writer.close()


async def test_a_forbidden_commit_fails_its_callers_and_the_writer_continues(tmp_path: Path) -> None:
    forbidden = True

    def guard() -> None:
        if forbidden:
            raise Unavailable("the lock is lost", code="lock_lost")

    writer = await open_writer(tmp_path, guard=guard)
    with pytest.raises(Unavailable) as caught:
        await writer.append([{"id": 1}])
    assert caught.value.code == "commit_failed"
    forbidden = False
    await writer.append([{"id": 2}])
    assert ids(writer) == [2]
    await writer.close()


async def test_a_failed_append_that_landed_is_reported_before_the_next_one_answers(tmp_path: Path) -> None:
    class Severed(Unlucky):
        cut = False

        def _catch_up(self) -> None:
            if self.cut:
                raise ConnectionError("no way to ask")
            super()._catch_up()

    delta_writer = Severed(TABLE, Location(str(tmp_path), False), app_id="test", checkpoint_interval=20, guard=lambda: None)
    writer = TableWriter(delta_writer, ThreadPoolExecutor(1))
    told: list[Row] = []
    writer.on_landed = told.extend
    await writer.append([{"id": 1}])
    delta_writer.losing, delta_writer.cut = 1, True
    with pytest.raises(Unavailable):
        await writer.append([{"id": 2}])
    assert told == []
    delta_writer.cut = False
    await writer.append([{"id": 3}])
    assert told == [{"id": 2}]
    assert ids(writer) == [1, 2, 3]
    await writer.close()


async def test_the_same_rows_under_the_same_mark_are_taken_once(tmp_path: Path) -> None:
    delta_writer, writer = unlucky_writer(tmp_path)
    delta_writer.losing = 1
    await writer.append([{"id": 1}], txn_version=7)
    with pytest.raises(ValueError, match="txn_version 7"):
        writer.append([{"id": 1}], txn_version=7)
    await writer.close()
    again = await open_writer(tmp_path)
    assert again.txn_version == 7
    await again.close()


async def test_a_table_of_another_version_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    await writer.append([{"id": 1}])
    await writer.close()
    wider = Table("numbers", "one number", TABLE.schema.append(pa.field("colour", pa.string(), nullable=False)), ("id",))
    with pytest.raises(Conflict, match="colour"):
        await TableWriter.open(wider, Location(str(tmp_path), False), app_id="test", checkpoint_interval=20)
    assert ids(writer) == [1]


async def test_a_table_of_an_earlier_version_gets_the_columns_that_may_be_null(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    await writer.append([{"id": 1}], txn_version=7)
    await writer.close()
    wider = Table("numbers", "one number", TABLE.schema.append(pa.field("colour", pa.string())), ("id",))
    for number in (2, 3):
        writer = await TableWriter.open(wider, Location(str(tmp_path), False), app_id="test", checkpoint_interval=20)
        await writer.append([{"id": number, "colour": "red"}])
        await writer.close()
    assert pl.scan_delta(writer.uri).sort("id").collect().rows() == [(1, None), (2, "red"), (3, "red")]
    assert writer.txn_version == 9


async def test_a_version_of_another_writer_is_followed(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    await writer.append([{"id": 1}])
    write_deltalake(writer.uri, pa.table({"id": [2]}, schema=TABLE.schema), mode="append")
    await writer.append([{"id": 3}])
    await writer.close()
    assert ids(writer) == [1, 2, 3]
    assert writer.version == DeltaTable(writer.uri).version() == 3


async def test_commits_equal_those_of_delta_itself(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    await writer.append([{"id": 4}, {"id": 2}], txn_version=7)
    await writer.close()
    table = DeltaTable(writer.uri)
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    assert files.select("num_records", "min.id", "max.id", "null_count.id").rows() == [(2, 2, 4, 0)]
    assert files["size_bytes"].to_list() == file_sizes(tmp_path)
    assert table.transaction_version("test") == 7
    assert [entry["operation"] for entry in table.history()] == ["WRITE", "CREATE TABLE"]
    assert table.to_pyarrow_dataset().count_rows(filter=pc.field("id") > 2) == 1


async def test_a_table_that_asks_more_of_a_writer_is_refused_and_left_alone(tmp_path: Path) -> None:
    writer = await open_writer(tmp_path)
    await writer.append([{"id": 1}])
    await writer.close()
    DeltaTable(writer.uri).alter.add_constraint({"positive": "id > 0"})
    with pytest.raises(Conflict, match="writer version 3") as caught:
        await open_writer(tmp_path)
    assert caught.value.code == "other_protocol"
    assert ids(writer) == [1]
