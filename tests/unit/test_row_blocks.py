"""Rows from blocks are those that the data file has, wherever they are, and are made once for all readers."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.storage import history_rows
from benchmarks.storage.history_rows import HEAVY
from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history import row_blocks, snapshot
from lakehouse.history.history import SINGLE_ROWS, History
from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_blocks import BUILD_ROWS, MAX_BLOCKS, ROWS, RowBlocks
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.snapshot import Snapshot
from lakehouse.history.table_parts import FilePart
from lakehouse.storage.location import Location
from schemas.tables import table
from tests.unit.test_snapshot import render, write

pytestmark = pytest.mark.unit

_FIRST, _LAST = dt.datetime(1971, 1, 1), dt.datetime(2200, 1, 1)  # noqa: DTZ001 - Hypothesis wants them without a zone
_TIME = st.datetimes(_FIRST, _LAST, timezones=st.just(dt.UTC))
_ROW = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters(codec="utf-8")),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
    st.none() | _TIME,
    st.none() | st.lists(st.text('a\n"\\\u2028é', max_size=3), max_size=3),
)
_SCHEMA = {
    "id": pl.Int64,
    "text": pl.String,
    "secs": pl.Float64,
    "flag": pl.Boolean,
    "at": pl.Datetime("us", "UTC"),
    "names": pl.List(pl.String),
}


@settings(deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=3 * ROWS), st.data())
def test_any_values_come_back_from_blocks(rows: Sequence[tuple[object, ...]], data: st.DataObject) -> None:
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    blocks = RowBlocks.of(frame.iter_slices(ROWS))
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    assert blocks.rows(np.array(wanted, np.int64)) == frame[wanted].to_dicts()


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Renders of two accounts in one file that stays on disk, not in order of id."""
    monkeypatch.setattr(snapshot, "SMALL_FILE_ROWS", 0)
    numbers = np.random.default_rng(5).permutation(BUILD_ROWS + 100) + 1
    return write(tmp_path, "tts_renders", [render(int(n), ("ada", "bob")[n % 2]) for n in numbers])


def opened(uri: str, indexes: IndexFiles | None) -> FilePart:
    (part,) = Snapshot.open(uri, "tts_renders", RowGroupCache(), indexes=indexes).parts
    assert isinstance(part, FilePart)
    return part


def test_rows_are_those_of_the_file_before_and_after_blocks_are_made(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = opened(uri, None)
    last = len(plain.index.ids) - 1
    some = [[0], [last], [BUILD_ROWS, BUILD_ROWS - 1], list(range(20)), list(range(0, last, 1000)), [5, 3, 5]]
    expected = [plain.rows(np.array(positions)) for positions in some]
    folder = tmp_path / "indexes"
    indexes = IndexFiles(folder, table("tts_renders").schema.names)
    part = opened(uri, indexes)
    assert [part.rows(np.array(positions)) for positions in some] == expected
    indexes.wait(60)
    assert len(list(folder.glob("*.items"))) == 1
    assert [part.rows(np.array(positions)) for positions in some] == expected

    other = opened(uri, IndexFiles(folder, table("tts_renders").schema.names))
    monkeypatch.setattr(FilePart, "read", None)
    assert [other.rows(np.array(positions)) for positions in some[:1]] == expected[:1], "no Parquet is read for one row"


def test_rows_in_many_blocks_come_from_row_groups(uri: str, tmp_path: Path) -> None:
    indexes = IndexFiles(tmp_path / "indexes", table("tts_renders").schema.names)
    part = opened(uri, indexes)
    assert part.blocks is not None
    assert part.blocks.few(np.arange(1)) is None
    indexes.wait(60)
    assert part.blocks.few(np.arange(MAX_BLOCKS) * ROWS) is not None
    assert part.blocks.few(np.arange(MAX_BLOCKS + 1) * ROWS) is None


def test_blocks_of_another_schema_are_made_again(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = RowBlocks.of

    def counted(frames: Iterator[pl.DataFrame]) -> RowBlocks:
        made.append(1)
        return real(frames)

    monkeypatch.setattr(row_blocks.RowBlocks, "of", counted)
    names = table("tts_renders").schema.names
    for columns, times in ((names[:-1], 1), (names, 2), (names, 2)):
        indexes = IndexFiles(tmp_path / "indexes", columns)
        assert opened(uri, indexes).rows(np.arange(1))
        indexes.wait(60)
        assert len(made) == times


def test_damaged_blocks_are_never_shown_and_are_made_again(uri: str, tmp_path: Path) -> None:
    plain = opened(uri, None)
    assert plain.index.order is not None
    first = np.argsort(plain.index.order)[:3]
    """Positions of the rows of the first block."""
    expected = plain.rows(first)
    folder, columns = tmp_path / "indexes", table("tts_renders").schema.names
    indexes = IndexFiles(folder, columns)
    opened(uri, indexes).rows(first)
    indexes.wait(60)
    (path,) = folder.glob("*.items")
    whole = path.read_bytes()
    for name, place in (("data", 200), ("ends", 8), ("sizes", 0), ("sums", 1)):
        path.unlink()
        path.write_bytes(flipped(whole, name, place))
        again = IndexFiles(folder, columns)
        part = opened(uri, again)
        assert [part.rows(first) for _ in range(2)] == [expected] * 2, name
        again.wait(60)
        assert path.read_bytes() == whole, f"{name}: made again"
        assert part.rows(first) == expected


def flipped(whole: bytes, name: str, place: int) -> bytes:
    """``whole``, a file of row blocks, with one bit changed in the array ``name``."""
    described = json.loads(whole[whole.rindex(b"[{") : whole.rindex(b"}]") + 2])
    at = described[0]["arrays"][name][1] + place
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


def test_a_file_that_cannot_be_stored_is_no_error(uri: str, tmp_path: Path) -> None:
    expected = opened(uri, None).rows(np.arange(3))
    (tmp_path / "file").touch()
    indexes = IndexFiles(tmp_path / "file" / "below", table("tts_renders").schema.names)
    part = opened(uri, indexes)
    for _ in range(2):
        assert part.rows(np.arange(3)) == expected
        indexes.wait(60)


async def test_every_table_gives_the_same_rows_with_and_without_blocks(tmp_path: Path) -> None:
    history_rows.build(tmp_path.as_posix(), 400_000)
    location = Location(tmp_path.as_posix(), fsync=False)
    plain = History(location, IdleLedger())
    blocks = History(location, IdleLedger(), index_folder=tmp_path / "indexes")
    for _ in range(2):
        for name in SINGLE_ROWS:
            for limit in (1, 20, 200):
                asked = {"limit": limit, "page": 3}
                assert await blocks.page(name, HEAVY[0], **asked) == await plain.page(name, HEAVY[0], **asked)
        await blocks.wait_until_stored()
    assert all(list((tmp_path / "indexes" / name).glob("*.items")) for name in SINGLE_ROWS)
    await plain.close()
    await blocks.close()


def test_erased_rows_stay_in_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SMALL_FILE_ROWS", 0)
    uri = write(tmp_path, "tts_renders", [render(number) for number in range(1, 100)])
    folder = tmp_path / "indexes"
    indexes = IndexFiles(folder, table("tts_renders").schema.names)
    part = opened(uri, indexes)
    part.rows(np.arange(1))
    indexes.wait(60)
    (before,) = folder.glob("*.items")
    DeltaTable(uri).delete("id = 7")
    again = Snapshot.open(uri, "tts_renders", RowGroupCache(), indexes=indexes)
    assert not before.exists()
    assert again.row("ada", 7) is None
    indexes.wait(60)
    assert (again.row("ada", 8) or {})["id"] == 8


def test_a_process_that_ends_waits_for_the_blocks_of_one_file_at_most(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def frames(held: bool) -> Iterator[pl.DataFrame]:
        if held:
            begun.set()
            assert go_on.wait(60)
        yield pl.DataFrame({"id": [1]})

    indexes = IndexFiles(tmp_path, ["id"])
    files = [indexes.rows_of(uri, partial(frames, uri == "first")) for uri in ("first", "second", "third")]
    row = np.zeros(1, np.int64)
    for file in files[:2]:
        assert file is not None
        assert file.few(row) is None
    assert begun.wait(60)
    indexes.close()
    go_on.set()
    assert files[2] is not None
    assert files[2].few(row) is None, "a read during the end is answered as before"
    with pytest.raises(RuntimeError, match="shutdown"):
        indexes.wait(60)
    for thread in [one for one in threading.enumerate() if one.name.startswith("row-blocks")]:
        thread.join(60)
    assert len(list(tmp_path.glob("*.items"))) <= 1
