"""Search indexes in files: built once for all readers, never read half-written, gone with the rows they were made from."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history import snapshot as snapshots
from lakehouse.history.history import History
from lakehouse.history.sorted_rows import SortedRows
from lakehouse.history.table_parts import FramePart
from lakehouse.search import Search, index_builder, index_cache, lexemes, parse
from lakehouse.search.compiler import matches
from lakehouse.search.merge_newest import Key, indexed, newest
from lakehouse.search.part_index import PartIndex
from lakehouse.search.postings import Postings
from lakehouse.search.shown_rows import SHOWN, ShownRows
from lakehouse.search.terms import Terms
from lakehouse.storage.array_file import Record, check_arrays, map_arrays, write_arrays
from lakehouse.storage.derived_files import DerivedFiles, Form
from lakehouse.storage.location import Location
from lakehouse.tables.index_specs import INDEX_SPECS
from tests.support.search_kit import texts
from tests.unit.test_search_postings import Tables, said

pytestmark = pytest.mark.unit

QUERIES = ("dentist", "dentist -flight", '"the dentist" or flight', "-dentist", "herring xyzzy")


class Gateway:
    """One reader of the tables in a folder, with indexes in files beside them."""

    def __init__(self, folder: Path) -> None:
        self.indexes = folder / "indexes"
        self.history = History(Location(folder.as_posix(), fsync=False), IdleLedger(), index_folder=self.indexes)
        self.search = Search(self.history, index_folder=self.indexes)

    async def indexed(self) -> Gateway:
        await self.search.turns("ada", "anything")
        await self.search.wait_until_indexed()
        return self

    async def found(self, query: str, account: str = "ada") -> list[int]:
        return [hit.row["id"] for hit in await self.search.turns(account, query, 50)]

    async def look_again(self) -> None:
        for follower in self.history._followers.values():
            if follower.snapshot is not None:
                await follower.reopen(follower.snapshot)

    def files(self) -> list[Path]:
        return sorted((self.indexes / "turns").glob("*.words"))


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Two files of turns that stay on disk, of two accounts each."""
    monkeypatch.setattr(snapshots, "SMALL_FILE_ROWS", 0)
    found = Tables(tmp_path)
    rows = [said(number, text, account=("ada", "bob")[number % 2]) for number, text in enumerate(texts(2000))]
    found.write("turns", rows[:1200])
    found.write("turns", rows[1200:])
    return found


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The files whose indexes were built."""
    built: list[str | None] = []

    def build(part: FramePart, columns: tuple[str, ...]) -> Iterator[Postings]:
        built.append(part.uri)
        return index_builder.build(part, columns)

    monkeypatch.setattr(index_cache, "build", build)
    return built


async def test_gateways_share_indexes_that_one_of_them_built(
    tables: Tables, tmp_path: Path, builds: list[str | None]
) -> None:
    by_scan = Search(tables)
    expected = [await by_scan.turns("ada", query, 50) for query in QUERIES]
    await by_scan.wait_until_indexed()
    builds.clear()
    one, two = await Gateway(tmp_path).indexed(), Gateway(tmp_path)
    assert len(builds) == len(one.files()) == 2
    for gateway in (one, two):
        assert [await gateway.search.turns("ada", query, 50) for query in QUERIES] == expected
        await gateway.search.wait_until_indexed()
        assert gateway.search.index_bytes == 0, "nothing is held in memory"
    assert await two.found("dentist", "bob")
    assert len(builds) == 2, "one file has the rows of all accounts"


async def test_gateways_that_start_together_build_each_index_once(
    tables: Tables, tmp_path: Path, builds: list[str | None]
) -> None:
    gateways = [Gateway(tmp_path) for _ in range(4)]
    await asyncio.gather(*(gateway.indexed() for gateway in gateways))
    assert len(builds) == 2
    assert len({tuple(await gateway.found("dentist")) for gateway in gateways}) == 1


async def test_a_file_that_is_not_whole_or_of_another_version_is_built_again(
    tables: Tables, tmp_path: Path, builds: list[str | None]
) -> None:
    expected = await (await Gateway(tmp_path).indexed()).found("dentist")
    files = Gateway(tmp_path).files()
    whole = files[0].read_bytes()
    other = whole.replace(b"search index", b"search indec", 1)
    for content in (b"", whole[:64], whole[: len(whole) // 2], whole[:-1], whole + b"\0", other):
        files[0].unlink()  # written in place it would change what the last gateway has mapped
        files[0].write_bytes(content)
        builds.clear()
        gateway = await Gateway(tmp_path).indexed()
        assert await gateway.found("dentist") == expected
        assert len(builds) == 1
        assert files[0].read_bytes() == whole


async def test_where_no_file_can_be_stored_indexes_are_in_memory(tables: Tables, tmp_path: Path) -> None:
    expected = await (await Gateway(tmp_path).indexed()).found("dentist")
    (tmp_path / "file").touch()
    search = Search(tables, index_folder=tmp_path / "file" / "below")
    await search.turns("ada", "dentist")
    await search.wait_until_indexed()
    assert search.index_bytes > 0
    assert [hit.row["id"] for hit in await search.turns("ada", "dentist", 50)] == expected


async def test_erased_rows_are_found_no_more_and_stay_in_no_file(tables: Tables, tmp_path: Path) -> None:
    tables.write("turns", [said(5001, "zanzibar dentist"), said(5002, "a dentist")])
    one, two = await Gateway(tmp_path).indexed(), await Gateway(tmp_path).indexed()
    assert await two.found("zanzibar") == [5001]
    assert any(b"zanzibar" in path.read_bytes() for path in one.files())
    DeltaTable(Location(tmp_path.as_posix(), fsync=False).table_uri("turns")).delete("id = 5001")
    await one.look_again()
    await two.look_again()
    for gateway in (one, two):
        for _ in range(2):
            assert await gateway.found("zanzibar") == []
            assert (await gateway.found("dentist"))[0] == 5002
            assert not any(b"zanzibar" in path.read_bytes() for path in gateway.indexes.rglob("*") if path.is_file())
            await gateway.search.wait_until_indexed()
    assert len(one.files()) == 3


async def test_an_erased_account_leaves_no_word_in_a_file(tables: Tables, tmp_path: Path) -> None:
    tables.write("turns", [said(5001, "quixotic dentist", account="eve"), said(5002, "a dentist")])
    gateway = await Gateway(tmp_path).indexed()
    assert await gateway.found("quixotic", "eve") == [5001]
    DeltaTable(Location(tmp_path.as_posix(), fsync=False).table_uri("turns")).delete("account = 'eve'")
    await gateway.look_again()
    assert await gateway.found("quixotic", "eve") == []
    await gateway.indexed()
    assert (await gateway.found("dentist"))[0] == 5002
    assert not any(b"quixot" in path.read_bytes() for path in gateway.indexes.rglob("*") if path.is_file())


async def test_erased_rows_leave_the_files_though_nobody_reads(tables: Tables, tmp_path: Path) -> None:
    tables.write("turns", [said(5001, "zanzibar dentist")])
    files = (await Gateway(tmp_path).indexed()).files
    DeltaTable(Location(tmp_path.as_posix(), fsync=False).table_uri("turns")).delete("id = 5001")
    task = asyncio.create_task(Gateway(tmp_path).history.run())
    try:
        async with asyncio.timeout(30):
            while any(b"zanzibar" in path.read_bytes() for path in files()):  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert len(files()) == 2, "those of the other files stay"


_NUMBERS: Form[Record] = Form("numbers 1", ".numbers", lambda record: record, lambda record: record)


def _records(count: int) -> Iterator[Record]:
    for number in range(count):
        yield Record(number, {"squares": np.arange(number) ** 2, "none": np.empty(0, np.uint8)})


def test_arrays_are_mapped_as_they_were_written(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "numbers 1", _records(20))
    found = map_arrays(tmp_path / "a", "numbers 1")
    assert [record.values for record in found] == list(range(20))
    for number, record in enumerate(found):
        assert np.array_equal(record.arrays["squares"], np.arange(number) ** 2)
        assert not record.arrays["squares"].flags.writeable
    with pytest.raises(ValueError, match="numbers 2"):
        map_arrays(tmp_path / "a", "numbers 2")


def test_a_changed_bit_anywhere_is_found(tmp_path: Path) -> None:
    write_arrays(
        path := tmp_path / "a", "numbers 1", [Record("seven", {"squares": np.arange(5) ** 2, "none": np.empty(0)})]
    )
    check_arrays(path)
    whole, unnoticed = path.read_bytes(), []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            map_arrays(path, "numbers 1")
            check_arrays(path)
        except ValueError:
            continue
        unnoticed.append(place)
    assert unnoticed == []
    path.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="not whole"):
        check_arrays(path)
    path.write_bytes(b"fluxions arrays 1: numbers 1\nof an earlier version")
    check_arrays(path)


def _build_until_killed(folder: Path, begun: threading.Event) -> None:
    def records() -> Iterator[Record]:
        yield Record(1, {"half": np.zeros(100_000)})
        begun.set()
        threading.Event().wait(600)

    DerivedFiles(folder).load("one", _NUMBERS, records)


def test_a_process_killed_while_it_builds_leaves_what_was_there(tmp_path: Path) -> None:
    files = DerivedFiles(tmp_path)
    spawning = multiprocessing.get_context("spawn")
    begun = spawning.Event()
    process = spawning.Process(target=_build_until_killed, args=(tmp_path, begun))
    process.start()
    try:
        assert begun.wait(60)
        assert files.open("one", _NUMBERS) is None
        assert list(tmp_path.glob("new-*")), "it was killed before it wrote"
    finally:
        process.kill()
        process.join(60)
    # The lock of the killed process is free, and its file is not taken for a whole one.
    assert [record.values for record in files.load("one", _NUMBERS, lambda: _records(3))] == [0, 1, 2]


def test_a_build_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def records() -> Iterator[Record]:
        yield from _records(3)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        DerivedFiles(tmp_path).load("one", _NUMBERS, records)
    assert DerivedFiles(tmp_path).open("one", _NUMBERS) is None
    assert not list(tmp_path.glob("new-*"))


@settings(deadline=None)
@given(st.lists(st.text(max_size=12) | st.text("ab\0é日", max_size=20)), st.lists(st.text(max_size=12)))
def test_terms_are_numbered_by_the_order_of_their_bytes(known: list[str], others: list[str]) -> None:
    ordered = sorted({word for word in known if word.isprintable() or "\0" in word})
    terms = Terms.of(ordered)
    assert len(terms) == len(ordered)
    assert [terms.number(word) for word in ordered] == list(range(len(ordered)))
    for word in {*others, *(word[:-1] for word in ordered), *(f"{word}\0" for word in ordered)} - set(ordered):
        assert terms.number(word) is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(codec="utf-8")),
            st.none() | st.integers(-(2**31), 2**31 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.booleans(),
        )
    )
)
def test_rows_are_shown_as_they_were_given(rows: list[tuple[str | None, int | None, float | None, bool | None]]) -> None:
    schema = {"text": pl.String, "chars": pl.Int32, "start_secs": pl.Float64, "flag": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    shown = ShownRows.of(frame)
    assert [shown.row(number) for number in range(len(rows))] == frame.to_dicts()


_WORD = st.sampled_from(["ant", "bee", "cow", "the"])
_TEXT = st.lists(_WORD, max_size=5).map(" ".join)
_ROWS = st.lists(st.tuples(_TEXT, st.integers(0, 9), st.sampled_from(["ada", "bob", "eve"])), min_size=1, max_size=120)
_QUERY = st.sampled_from(["ant", "ant bee", '"ant bee"', "ant -bee", "-ant", "ant or cow", '"bee the ant"', "dog"])


@settings(deadline=None)
@given(_ROWS, _QUERY, st.integers(1, 20), st.integers(1, 40), st.none() | st.tuples(st.integers(0, 9), st.integers(0, 120)))
def test_any_accounts_any_segments_any_page(
    rows: list[tuple[str, int, str]], query: str, limit: int, segment_words: int, before: Key | None
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index_builder, "BUILD_ROWS", 7)
        patched.setattr(index_builder, "SEGMENT_WORDS", segment_words)
        frame = _frame(rows)
        part = FramePart.of(frozenset(("turns.parquet",)), frame, INDEX_SPECS["turns"])
        index = PartIndex(list(index_builder.build(part, SHOWN["turns"])))
    assert sum(map(len, index.segments)) == len(rows)
    for account in ("ada", "bob", "eve"):
        run = SortedRows.of(part, *part.index.span(account))
        streams = indexed("turn", 0, run, index, parse(query), limit, before)
        found = newest(streams, limit, lambda settled: [key for key, _ in settled])
        own = frame.filter(matches(parse(query)), pl.col("account") == account)
        keys = sorted(zip(own["created_at"].to_physical(), own["id"], strict=True), reverse=True)
        assert found == [key for key in keys if before is None or key < before][:limit]


def _frame(rows: list[tuple[str, int, str]]) -> pl.DataFrame:
    columns = {
        "account": [account for _, _, account in rows],
        "id": range(len(rows)),
        "created_at": pl.Series([at for _, at, _ in rows], dtype=pl.Datetime("us", "UTC")),
        "session_id": "s",
        "role": "user",
        "text": [text for text, _, _ in rows],
        "start_secs": pl.Series([at / 2 if at else None for _, at, _ in rows], dtype=pl.Float64),
        "lexemes": [lexemes(text) for text, _, _ in rows],
    }
    return pl.DataFrame(columns)
