"""Search indexes are there before they are asked for, and are made in a process that is gone afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history import follower
from lakehouse.history import snapshot as snapshots
from lakehouse.history.history import History
from lakehouse.history.table_parts import FramePart
from lakehouse.search import Search, index_builder, index_cache
from lakehouse.search.decoded_column_cache import DecodedColumnCache
from lakehouse.search.postings import Postings
from lakehouse.storage import derived_files
from lakehouse.storage.location import Location
from runtime import children
from serve.services import search_index_process
from serve.services.search_index_process import SearchIndexProcess
from tests.support.search_kit import texts
from tests.unit.test_search_postings import Tables, said

pytestmark = pytest.mark.unit

DEADLINE_SECS = 40


class Gateway:
    """A reader as the gateway makes it."""

    def __init__(self, folder: Path, *, in_process: bool = False) -> None:
        self.indexes = folder / "indexes"
        self.history = History(Location(folder.as_posix(), fsync=False), IdleLedger(), index_folder=self.indexes)
        self.process = SearchIndexProcess(self.indexes) if in_process else None
        self.search = Search(self.history, index_folder=self.indexes, index_maker=self.process)
        self.history.build_ahead(self.search.build_ahead)

    async def found(self) -> list[int]:
        return [hit.row["id"] for hit in await self.search.turns("ada", "dentist", 50)]

    async def indexed(self) -> list[int]:
        found = await self.found()
        await asyncio.wait_for(self.search.wait_until_indexed(), DEADLINE_SECS)
        return found

    @property
    def version(self) -> int:
        taken = self.history.snapshot("turns")
        assert taken is not None
        return taken.version


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Two files of turns that stay on disk."""
    monkeypatch.setattr(snapshots, "SMALL_FILE_ROWS", 0)
    found = Tables(tmp_path)
    rows = [said(number, text) for number, text in enumerate(texts(2000))]
    found.write("turns", rows[:1200])
    found.write("turns", rows[1200:])
    return found


def merge(folder: Path) -> int:
    """The version of the table after its files were merged into one."""
    handle = DeltaTable(folder / "tables" / "turns")
    handle.optimize.compact()
    return handle.version()


async def test_the_first_query_after_a_merge_scans_nothing(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(tmp_path)
    expected = await gateway.indexed()
    assert expected
    merged = merge(tmp_path)
    monkeypatch.setattr(DecodedColumnCache, "read", None)  # what scans read by
    monkeypatch.setattr(follower, "REFRESH_SECS", 0.0)
    async with asyncio.timeout(DEADLINE_SECS):
        while gateway.version != merged:
            assert await gateway.found() == expected
    assert await gateway.found() == expected
    await gateway.history.close()


@pytest.mark.parametrize(("limit", "value"), [("AHEAD_SECS", 0.1), ("AHEAD_ROWS", 0)])
async def test_a_snapshot_waits_only_for_a_while_and_only_where_somebody_searches(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    gateway, stuck, began = Gateway(tmp_path), threading.Event(), threading.Event()
    expected = await gateway.indexed()

    def build(part: FramePart, columns: tuple[str, ...]) -> Iterator[Postings]:
        began.set()
        assert stuck.wait(DEADLINE_SECS)
        return index_builder.build(part, columns)

    monkeypatch.setattr(index_cache, "build", build)
    monkeypatch.setattr(follower, "REFRESH_SECS", 0.0)
    monkeypatch.setattr(follower, limit, value)
    merged = merge(tmp_path)
    try:
        async with asyncio.timeout(DEADLINE_SECS):
            while gateway.version != merged:
                assert await gateway.found() == expected
        assert began.is_set()
        assert await gateway.found() == expected, "by scan"
    finally:
        stuck.set()
    other = Gateway(tmp_path)
    await other.history.page("turns", "ada")
    taken = other.history.snapshot("turns")
    assert taken is not None
    assert other.search.build_ahead("turns", taken.parts) == []
    await gateway.history.close()


async def test_a_child_process_makes_the_indexes_and_ends(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_cache, "build", None)
    gateway = Gateway(tmp_path, in_process=True)
    expected = await gateway.indexed()
    assert len(list((tmp_path / "indexes" / "turns").glob("*.words"))) == 2
    assert gateway.process is not None
    assert not gateway.process.is_running
    monkeypatch.setattr(DecodedColumnCache, "read", None)
    assert await gateway.found() == expected
    assert gateway.search.index_bytes == 0


async def test_without_the_child_indexes_are_made_on_a_thread(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.services.search_index_process._MODULE", "no.such.module")
    gateway = Gateway(tmp_path, in_process=True)
    expected = await gateway.indexed()
    monkeypatch.setattr(DecodedColumnCache, "read", None)
    assert await gateway.found() == expected


async def test_a_child_that_hangs_is_ended(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index_process, "ANSWER_SECS", 0.5)
    process, folder = SearchIndexProcess(tmp_path / "indexes"), tmp_path / "indexes" / "turns"
    uri = next((tmp_path / "tables" / "turns").glob("*.parquet")).as_posix()
    folder.mkdir(parents=True)
    with derived_files._locked(folder / "lock-words"), pytest.raises(OSError, match="has ended"):
        await asyncio.wait_for(asyncio.to_thread(process.make, "turns", uri), DEADLINE_SECS)
    assert not process.is_running


async def test_a_reader_that_closes_ends_the_child_in_the_midst_of_an_index(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    there = threading.Event()

    def start(argv: Sequence[str], env: Mapping[str, str], **pipes: Any) -> subprocess.Popen[bytes]:
        started.append(real_start(argv, env, **pipes))
        there.set()
        return started[-1]

    real_start = children.start
    monkeypatch.setattr(children, "start", start)
    gateway = Gateway(tmp_path, in_process=True)
    folder = tmp_path / "indexes" / "turns"
    folder.mkdir(parents=True)
    with derived_files._locked(folder / "lock-words"):  # another process is making an index, so the child waits
        await gateway.found()
        assert await asyncio.to_thread(there.wait, DEADLINE_SECS)
        await asyncio.wait_for(asyncio.to_thread(gateway.search.close), DEADLINE_SECS)
        builder = gateway.search._indexes._builder
        await asyncio.wait_for(asyncio.to_thread(builder.shutdown), DEADLINE_SECS)
    assert [child.poll() is None for child in started] == [False]
    assert list(folder.glob("*.words")) == []
