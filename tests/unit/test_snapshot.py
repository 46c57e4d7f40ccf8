"""Snapshots over tables laid out in every way a table may lie, and pages of them, against plain Python."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.history import snapshot as snapshots
from lakehouse.history import sorted_rows
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.snapshot import Row, Snapshot
from lakehouse.history.sorted_rows import RankRange, SortedRows, page, ranks_between
from lakehouse.history.table_parts import FilePart, FramePart
from lakehouse.history.tail import AccountView, Tail, microseconds
from lakehouse.tables.delta_writer import WRITER_PROPERTIES
from lakehouse.tables.index_specs import INDEX_SPECS
from schemas.tables import table

pytestmark = pytest.mark.unit

START = dt.datetime(2026, 6, 29, 10, 40, tzinfo=dt.UTC)
RENDERS = INDEX_SPECS["tts_renders"]
SCHEMA = pl.Schema(table("tts_renders").schema)


def render(row_id: int, account: str = "ada", secs: int | None = None, voice: str = "maeve") -> Row:
    row: Row = dict.fromkeys(SCHEMA.names())
    for field in table("tts_renders").schema:
        if not field.nullable:
            row[field.name] = "x" if str(field.type) == "string" else 0
    created_at = START + dt.timedelta(seconds=row_id if secs is None else secs)
    return {**row, "id": row_id, "account": account, "created_at": created_at, "voice": voice, "verified": False}


def transcription(row_id: int, revision: int = 0, status: str = "completed", account: str = "ada") -> Row:
    schema = table("transcriptions").schema
    row: Row = {f.name: None if f.nullable else "x" if str(f.type) == "string" else 0 for f in schema}
    flags = dict.fromkeys(("non_speech", "use_cache", "cached"), False)
    times = dict.fromkeys(("created_at", "updated_at"), START + dt.timedelta(seconds=row_id))
    return {**row, **flags, **times, "id": row_id, "account": account, "status": status, "revision": revision}


def write(folder: Path, name: str, *files: list[Row]) -> str:
    """A table of these files, in this order."""
    uri = str(folder / name)
    for rows in files:
        data = pl.DataFrame(rows, schema=pl.Schema(table(name).schema)).to_arrow().cast(table(name).schema)
        write_deltalake(uri, data, mode="append", writer_properties=WRITER_PROPERTIES)
    return uri


def listed(view: AccountView, **options: Any) -> list[int]:
    clips = [RankRange(run, 0, len(run)) for run in view.runs]
    found = page(clips, 0, 10**6, descending=True, **options)
    return [int(view.runs[f.source].part.index.ids[f.position]) for f in found]


@pytest.fixture(params=["in files", "in memory"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The same data once as large files, once as small ones."""
    monkeypatch.setattr(snapshots, "SMALL_FILE_ROWS", 0 if request.param == "in files" else 10**6)
    return FilePart if request.param == "in files" else FramePart


def test_rows_come_back_whole_from_files_in_any_order(tmp_path: Path, layout: type[Any]) -> None:
    rows = {i: render(i, "bob" if i % 3 else "ada", voice=f"v{i % 4}") for i in range(1, 30)}
    sorted_file = sorted((rows[i] for i in range(1, 15)), key=lambda row: (row["account"], row["id"]))
    uri = write(tmp_path, "tts_renders", sorted_file, [rows[i] for i in range(15, 30)])
    taken = Snapshot.open(uri, "tts_renders", RowGroupCache())
    assert {type(part) for part in taken.parts} == {layout}
    for row_id, row in rows.items():
        other = "ada" if row["account"] == "bob" else "bob"
        assert taken.row(row["account"], row_id) == {name: value for name, value in row.items() if name != "lexemes"}
        assert taken.row(other, row_id) is None
    assert taken.row("ada", 30) is None
    assert taken.row("eve", 3) is None
    assert listed(AccountView("ada", taken, None)) == [27, 24, 21, 18, 15, 12, 9, 6, 3]
    assert listed(AccountView("eve", taken, None)) == []


def test_the_highest_revision_counts_and_deleted_ones_never_show(tmp_path: Path, layout: type[Any]) -> None:
    first = [transcription(1), transcription(2), transcription(3), transcription(3, 1, "failed"), transcription(4, 2)]
    second = [transcription(2, 1, "deleted"), transcription(4, 1, "failed"), transcription(5, 0, "deleted")]
    uri = write(tmp_path, "transcriptions", first, second, [transcription(1, 1, "failed"), transcription(1, account="bob")])
    taken = Snapshot.open(uri, "transcriptions", RowGroupCache())
    assert layout in {type(part) for part in taken.parts}
    assert listed(AccountView("ada", taken, None)) == [4, 3, 1]
    found = {i: taken.row("ada", i) for i in range(1, 6)}
    assert {i: row and (row["status"], row["revision"]) for i, row in found.items()} == {
        1: ("failed", 1),
        2: None,
        3: ("failed", 1),
        4: ("completed", 2),
        5: None,
    }


def test_a_later_snapshot_loads_only_new_files_and_small_ones_are_stacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SMALL_FILE_ROWS", 50)
    uri = write(tmp_path, "tts_renders", [render(i) for i in range(1, 100)], [render(100)])
    one = Snapshot.open(uri, "tts_renders", RowGroupCache())
    assert [type(part) for part in one.parts] == [FilePart, FramePart]
    for row_id in range(101, 109):
        write(tmp_path, "tts_renders", [render(row_id)])
        two = Snapshot.open(uri, "tts_renders", RowGroupCache(), one)
        assert two.parts[0] is one.parts[0]
        assert len(two.parts) <= 4
        one = two
    assert listed(AccountView("ada", one, None)) == list(range(108, 0, -1))
    DeltaTable(uri).optimize.compact()
    merged = Snapshot.open(uri, "tts_renders", RowGroupCache(), one)
    assert len(merged.parts) == 1
    assert listed(AccountView("ada", merged, None)) == list(range(108, 0, -1))


def test_rows_of_the_tail_replace_those_of_the_snapshot(tmp_path: Path) -> None:
    uri = write(tmp_path, "transcriptions", [transcription(i) for i in range(1, 6)])
    taken = Snapshot.open(uri, "transcriptions", RowGroupCache())
    tail = Tail(taken.spec, taken.schema)
    tail.add([transcription(6, status="submitted"), transcription(2, status="deleted"), transcription(7, account="bob")])
    before = AccountView("ada", taken, tail.of("ada"))
    tail.add([transcription(6, status="processing"), transcription(3, 1, "failed")])
    after = AccountView("ada", taken, tail.of("ada"))
    assert listed(before) == listed(after) == [6, 5, 4, 3, 1]
    for view, statuses in ((before, "submitted completed"), (after, "processing failed")):
        assert view.row(2) is None
        assert " ".join(str((view.row(i) or {})["status"]) for i in (6, 3)) == statuses


@settings(deadline=None, max_examples=80)
@given(
    parts=st.lists(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("xyz")), max_size=9), min_size=1, max_size=4),
    offset=st.integers(0, 12),
    limit=st.integers(1, 6),
    bounds=st.tuples(st.none() | st.integers(0, 6), st.none() | st.integers(0, 6)),
    voice=st.none() | st.sampled_from("xyw"),
    descending=st.booleans(),
    near=st.sampled_from([0, 3, sorted_rows.NEAR_ROWS]),
)
def test_pages_are_slices_of_the_sorted_whole(
    parts: list[list[tuple[int, str]]],
    offset: int,
    limit: int,
    bounds: tuple[int | None, int | None],
    voice: str | None,
    descending: bool,
    near: int,
) -> None:
    """Times repeat, fall back and cross over between parts; ids are dealt out in turn."""
    rows = [
        render(n * len(parts) + p + 1, secs=s, voice=v) for p, some in enumerate(parts) for n, (s, v) in enumerate(some)
    ]
    runs = []
    for p in range(len(parts)):
        own = [row for row in rows if row["id"] % len(parts) == (p + 1) % len(parts)]
        part = FramePart.of(frozenset(), pl.DataFrame(own, schema=SCHEMA), RENDERS)
        runs.append(SortedRows.of(part, 0, len(own)))
    since, until = (None if secs is None else START + dt.timedelta(seconds=secs) for secs in bounds)
    expected = sorted(
        (row["created_at"], row["id"])
        for row in rows
        if (voice is None or row["voice"] == voice)
        and (since is None or row["created_at"] >= since)
        and (until is None or row["created_at"] <= until)
    )
    if descending:
        expected.reverse()
    chosen = [run.where(voice) for run in runs] if voice else runs
    clips = [ranks_between(run, *(None if m is None else microseconds(m) for m in (since, until))) for run in chosen]
    assert sum(map(len, clips)) == len(expected)
    with mock.patch.object(sorted_rows, "NEAR_ROWS", near):
        found = page(clips, offset, limit, descending=descending)
    ids = [int(chosen[f.source].part.index.ids[f.position]) for f in found]
    assert ids == [row_id for _, row_id in expected[offset : offset + limit]]
