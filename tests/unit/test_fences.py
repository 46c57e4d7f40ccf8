"""A paused writer commits nothing once another has begun: fences on real Delta tables, leases in a shared folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lakehouse.storage import writer_lock
from lakehouse.storage.lease_records import FolderRecord, Version
from lakehouse.storage.location import Location
from lakehouse.storage.writer_lock import LeaseLock, take_lock
from lakehouse.tables import delta_writer
from lakehouse.tables.delta_writer import CommitError, DeltaWriter, open_table
from lakehouse.tables.file_replacement import FileReplacement, NewFile, data_files
from lakehouse.tables.group_commit import TableWriter
from schemas.errors import Conflict, Unavailable
from schemas.tables import Table

pytestmark = pytest.mark.unit

TABLE = Table("numbers", "one number", pa.schema([pa.field("id", pa.int64(), nullable=False)]), ("id",))


class Pause:
    """A guard after which the writer stands still while something else happens, once."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


def writer(folder: Path, guard: Callable[[], None] = lambda: None) -> DeltaWriter:
    return DeltaWriter(TABLE, Location(str(folder), False), app_id="test", checkpoint_interval=20, guard=guard, fenced=True)


def ids(folder: Path) -> list[int]:
    return sorted(pl.scan_delta(str(folder / "tables" / "numbers")).collect()["id"].to_list())


def causes(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(getattr(error, "code", type(error).__name__))
        error = error.__cause__
    return found


def test_a_commit_of_a_writer_that_was_paused_before_it_never_lands(tmp_path: Path) -> None:
    pause = Pause()
    old = writer(tmp_path, pause)
    old.commit([{"id": 1}], 0)
    new: list[DeltaWriter] = []
    pause.meanwhile = lambda: new.append(writer(tmp_path))
    with pytest.raises(CommitError) as caught:
        old.commit([{"id": 2}], 1)
    assert "lock_lost" in causes(caught.value)
    assert ids(tmp_path) == [1]
    new[0].commit([{"id": 3}], 1)  # the same transaction version: it must not be taken for the old writer's
    assert ids(tmp_path) == [1, 3]
    with pytest.raises(CommitError):
        old.commit([{"id": 4}], 2)
    assert ids(tmp_path) == [1, 3]


def test_a_commit_that_comes_before_the_fence_is_seen_by_the_new_writer(tmp_path: Path) -> None:
    old = writer(tmp_path)
    pause = Pause()
    pause.meanwhile = lambda: old.commit([{"id": 1}], 0)  # between the new writer's look at the table and its fence
    new = writer(tmp_path, pause)
    assert new.txn_version == 0
    new.commit([{"id": 2}], 1)
    assert ids(tmp_path) == [1, 2]


def test_a_table_is_read_once_for_a_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer(tmp_path).commit([{"id": 1}], 0)
    opened: list[str] = []

    def counted(uri: str, **version: int) -> DeltaTable:
        opened.append(uri)
        return open_table(uri, **version)

    monkeypatch.setattr(delta_writer, "open_table", counted)
    new = writer(tmp_path)
    assert len(opened) == 1
    assert new.version == DeltaTable(new.uri).version()
    new.commit([{"id": 2}], 1)
    assert ids(tmp_path) == [1, 2]


def test_deletions_and_replaced_files_of_a_paused_writer_never_land(tmp_path: Path) -> None:
    pause = Pause()
    old = writer(tmp_path, pause)
    old.commit([{"id": 1}], 0)
    before = DeltaTable(old.uri).file_uris()
    pause.meanwhile = lambda: writer(tmp_path).commit([{"id": 2}], 1)
    with pytest.raises(CommitError):
        old.delete("id = 1")
    assert ids(tmp_path) == [1, 2]
    third = writer(tmp_path, pause)
    removed = [file for file in data_files(third.uri, TABLE) if before[0].endswith(file.path)]
    added: list[NewFile] = []
    pause.meanwhile = lambda: writer(tmp_path)
    with pytest.raises(CommitError):
        third.replace_files(FileReplacement(removed, added, data_change=True, version=third.version))
    assert ids(tmp_path) == [1, 2]


async def test_a_lease_in_a_shared_folder_passes_on_and_its_ghost_stops(tmp_path: Path) -> None:
    location = Location(str(tmp_path), False)
    ghost = await take_lock(location, shared=True, lease_secs=1.0)
    assert isinstance(ghost, LeaseLock)
    with pytest.raises(Conflict):
        await take_lock(location, shared=False)
    ghost._renewal.cancel()  # its process is paused
    async with asyncio.timeout(30):
        lock = await take_lock(location, shared=True, lease_secs=600.0)
        with pytest.raises(Unavailable):
            ghost.check()
        ghost._renewal = asyncio.create_task(ghost._renew())
        await ghost.lost()
    lock.check()
    with pytest.raises(Conflict):
        await asyncio.wait_for(take_lock(location, shared=False), 30)
    await ghost.release()
    lock.check()
    await lock.release()
    await (await take_lock(location)).release()
    await (await take_lock(location, shared=True)).release()


@pytest.mark.parametrize("boot", ["of this machine", "of another machine"])
async def test_a_dead_holders_lease_ends_although_the_wall_clock_was_stepped_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    location = Location(str(tmp_path), False)
    with monkeypatch.context() as there:
        if boot == "of another machine":
            there.setattr(writer_lock, "_boot", lambda: boot)
        ghost = await take_lock(location, shared=True, lease_secs=1.0)
    assert isinstance(ghost, LeaseLock)
    ghost._renewal.cancel()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    async with asyncio.timeout(30):
        for shared in (True, False):
            await (await take_lock(location, shared=shared)).release()


async def test_a_living_holder_keeps_its_lease_although_the_wall_clock_was_stepped_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path), False)
    lock = await take_lock(location, shared=True, lease_secs=20.0)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    for shared in (True, False):
        with pytest.raises(Conflict):
            await take_lock(location, shared=shared)
    lock.check()
    await lock.release()


async def test_only_one_of_many_takes_a_free_lease(tmp_path: Path) -> None:
    location = Location(str(tmp_path), False)
    first = await take_lock(location, shared=True, lease_secs=1.0)
    await first.release()
    taken = await asyncio.gather(
        *(take_lock(location, shared=True, lease_secs=5.0) for _ in range(8)), return_exceptions=True
    )
    locks = [lock for lock in taken if isinstance(lock, LeaseLock)]
    assert len(locks) == 1, taken
    await locks[0].release()


class AnswersLate:
    """A folder's record whose puts are carried out and answered later, as those of a store far away."""

    def __init__(self, record: FolderRecord) -> None:
        self._record = record
        self.read, self.remove = record.read, record.remove
        self.answered_after_secs = 0.0
        self.carried_out = asyncio.Event()

    async def write(self, expected: Version, content: dict[str, Any]) -> Version:
        version = await self._record.write(expected, content)
        self.carried_out.set()
        await asyncio.sleep(self.answered_after_secs)
        return version


async def test_a_lease_is_given_up_while_it_is_renewed(tmp_path: Path) -> None:
    record = AnswersLate(FolderRecord(tmp_path))
    lock = await LeaseLock.take(record, str(tmp_path), 600.0)
    record.answered_after_secs = 30.0
    record.carried_out.clear()
    lock._renewal.cancel()
    lock._renewal = asyncio.create_task(lock._put(lock._version))
    async with asyncio.timeout(60):
        await record.carried_out.wait()
        await lock.release()
        await (await take_lock(Location(str(tmp_path), False), shared=True)).release()


async def test_a_table_that_is_opened_again_and_again_without_rows_gets_a_checkpoint(tmp_path: Path) -> None:
    location = Location(str(tmp_path), False)
    for _ in range(3):
        opened = await TableWriter.open(TABLE, location, app_id="test", checkpoint_interval=3, fenced=True)
        opened.forget_opened()
        await opened.close()
    assert list((tmp_path / "tables" / "numbers" / "_delta_log").glob("*3.checkpoint.parquet"))
    assert ids(tmp_path) == []
