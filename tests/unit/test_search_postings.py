"""An index finds what a pass over the rows finds, in their order, and is there only as long as it fits and its part is."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history.history import History
from lakehouse.history.sorted_rows import SortedRows
from lakehouse.history.table_parts import FramePart
from lakehouse.search import Search, lexemes, parse, snippet
from lakehouse.search.compiler import matches
from lakehouse.search.index_builder import build
from lakehouse.search.index_cache import IndexCache
from lakehouse.search.merge_newest import Key, indexed, newest
from lakehouse.search.part_index import PartIndex
from lakehouse.search.postings import FIRST_STRETCH, LONGER_FIRST_STRETCH, RankSpan
from lakehouse.search.shown_rows import SHOWN, read_shown, with_keys
from lakehouse.search.tokenizer import lexemes_with_spans, tokens
from lakehouse.storage.location import Location
from lakehouse.tables.index_specs import INDEX_SPECS
from schemas.tables import table
from tests.support.search_kit import queries, texts
from tests.support.table_rows import BEGAN, blank_row

pytestmark = pytest.mark.unit

T = TypeVar("T")


def part_of(said: Sequence[str], created: Sequence[int] | None = None) -> FramePart:
    """Turns of one account with ids from 0 on; ``created`` in microseconds, the ids themselves if not given."""
    times = list(range(len(said))) if created is None else list(created)
    columns = {"account": ["ada"] * len(said), "id": range(len(said)), "created_at": times}
    spoken = {"session_id": [f"s{i % 3}" for i in range(len(said))], "role": "user", "text": said}
    start_secs = pl.Series([i / 2 if i else None for i in range(len(said))], dtype=pl.Float64)
    frame = pl.DataFrame({**columns, **spoken, "start_secs": start_secs, "lexemes": [lexemes(text) for text in said]})
    typed = frame.with_columns(pl.col("created_at").cast(pl.Datetime("us", "UTC")))
    return FramePart.of(frozenset(("turns.parquet",)), typed, INDEX_SPECS["turns"])


def index_of(part: FramePart, columns: tuple[str, ...] = ()) -> PartIndex:
    return PartIndex(list(build(part, columns)))


def found_by_index(
    part: FramePart, index: PartIndex, query: str, limit: int, hidden: Sequence[int] = (), before: Key | None = None
) -> list[int]:
    run = SortedRows.of(part, 0, part.frame.height, np.array(hidden, np.int64))
    streams = indexed("turn", 0, run, index, parse(query), limit, before)
    return newest(streams, limit, lambda settled: [key[1] for key, _ in settled])


def found_by_scan(part: FramePart, query: str, limit: int, hidden: Sequence[int] = ()) -> list[int]:
    hits = part.frame.filter(matches(parse(query)), ~pl.col("id").is_in(list(hidden)))
    return hits.sort("created_at", "id", descending=True)["id"].to_list()[:limit]


def test_every_query_finds_what_a_pass_over_all_rows_finds() -> None:
    part = part_of(texts())
    index = index_of(part)
    for query in queries():
        every = found_by_scan(part, query, part.frame.height)
        for limit in (20, part.frame.height):
            assert found_by_index(part, index, query, limit) == every[:limit], query


_WORD = st.sampled_from(["ant", "bee", "cow", "the", "of", "elk-ant", ""])
_TEXT = st.lists(_WORD, max_size=6).map(" ".join)
_TERM = st.builds(
    lambda sign, text: f'{sign}"{text}"', st.sampled_from(["", "-"]), st.lists(_WORD, max_size=4).map(" ".join)
)
_QUERY = st.lists(st.lists(_TERM, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=3).map(" or ".join)


@settings(deadline=None)
@given(st.lists(st.tuples(_TEXT, st.integers(0, 9)), min_size=1, max_size=200), _QUERY, st.integers(1, 30), st.data())
def test_any_rows_any_query_any_order_of_time_any_rows_left_out(
    rows: list[tuple[str, int]], query: str, limit: int, data: st.DataObject
) -> None:
    part = part_of([text for text, _ in rows], [at for _, at in rows])
    hidden = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=5)))
    by_index = found_by_index(part, index_of(part), query, limit, hidden)
    assert by_index == found_by_scan(part, query, limit, hidden)


def test_a_row_with_more_places_than_a_stretch_is_found_once() -> None:
    part = part_of(["ant bee", "ant " * (3 * FIRST_STRETCH), "ant", "bee " * 500 + "ant", "cow"])
    index = index_of(part)
    assert found_by_index(part, index, "ant", 20) == [3, 2, 1, 0]
    assert found_by_index(part, index, '"bee ant"', 20) == [3]
    assert [len(stretch.found) for stretch in RankSpan(index.segments[0], 0, 5).search(parse("ant"))[0]] == [3, 1]


def test_no_further_back_is_looked_than_the_hits_lie() -> None:
    part = part_of(["ant bee"] * 5000)
    stretches = RankSpan(index_of(part).segments[0], 0, 5000).search(parse("ant bee"))[0]
    assert next(stretches).oldest == 5000 - LONGER_FIRST_STRETCH


def test_rows_are_shown_as_the_part_reads_them() -> None:
    part = part_of(["one", "two", "three"], [3, 1, 2])
    positions = np.array([2, 0, 1])
    shown = with_keys(part, positions, index_of(part, SHOWN["turns"]).rows_at(positions))
    assert shown == read_shown(part, positions, SHOWN["turns"])
    assert shown == part.read(positions).drop("lexemes", "account").to_dicts()


def test_an_index_over_the_limit_is_not_made_and_one_that_is_used_outlives_one_that_is_not() -> None:
    parts = [part_of(texts(300)) for _ in range(3)]
    size = index_of(parts[0]).num_bytes
    small = IndexCache(size - 1)
    roomy = IndexCache(2 * size + size // 2)
    for part in parts[:2]:
        roomy.start_building("turns", part)
        small.start_building("turns", part)
    roomy.wait(60)
    small.wait(60)
    assert small.of("turns", parts[0]) is None
    assert small.num_bytes == 0
    first = roomy.of("turns", parts[0])
    assert first is not None
    roomy.start_building("turns", parts[2])
    roomy.wait(60)
    assert roomy.of("turns", parts[0]) is first
    assert roomy.of("turns", parts[2]) is not None
    assert roomy.of("turns", parts[1]) is None, "the one not asked for longest made room"


def test_an_index_goes_with_its_part() -> None:
    indexes = IndexCache()
    indexes.start_building("turns", part_of(texts(50)))
    indexes.wait(60)
    gc.collect()
    kept = part_of(texts(60))
    indexes.start_building("turns", kept)
    indexes.wait(60)
    assert indexes.of("turns", kept) is not None
    assert indexes.num_bytes == index_of(kept).num_bytes


def test_no_index_is_built_after_the_end() -> None:
    indexes, part = IndexCache(), part_of(texts(50))
    indexes.close()
    indexes.start_building("turns", part)
    indexes.wait(60)
    assert indexes.of("turns", part) is None


_PROSE = st.text(alphabet="abyZ .,;'\n", max_size=60) | st.lists(
    st.sampled_from(["Dying", "skies", "the", "hoping", "ties", "y", "Die", "sky", "idly."]), max_size=12
).map(" ".join)


@given(_PROSE, st.lists(st.sampled_from(["die", "sky the", "hope", "tie", "y", "idle", "a", "ab", "b"]), max_size=3))
def test_prose_is_cut_and_marked_as_any_text_is(text: str, terms: list[str]) -> None:
    expected = [(lexeme, token.start, token.end) for token in tokens(text) for lexeme in token.lexemes]
    assert [(lexeme, *span) for lexeme, span in zip(*lexemes_with_spans(text), strict=True)] == expected
    query = parse(" or ".join(f'"{term}"' for term in terms))
    # A digit makes it more than prose, and is far from what is marked.
    other = snippet(f"{text} 7", query)
    assert snippet(f"{text} ", query).removesuffix(" ") == other.removesuffix("…").removesuffix("7").removesuffix(" ")


class Tables:
    """Tables in a folder and one reader of them, which sees what is written when it is told to look."""

    def __init__(self, folder: Path) -> None:
        self._location = Location(folder.as_posix(), fsync=False)
        for name in ("turns", "segments", "transcriptions"):
            self.write(name, [])
        self.history = History(self._location, IdleLedger())

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows; columns not given are empty, zero or null."""
        schema = table(name).schema
        filled = [{**blank_row(schema), **row} for row in rows]
        write_deltalake(self._location.table_uri(name), pa.Table.from_pylist(filled, schema=schema), mode="append")

    async def look_again(self) -> None:
        for follower in self.history._followers.values():
            if follower.snapshot is not None:
                await follower.reopen(follower.snapshot)

    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[Any]], T]) -> T:
        return await self.history.read(tables, account, read)


def said(row_id: int, text: str, account: str = "ada", **columns: Any) -> dict[str, Any]:
    at = BEGAN + dt.timedelta(hours=row_id)
    return {"id": row_id, "account": account, "created_at": at, "text": text, "lexemes": lexemes(text), **columns}


def recording(row_id: int, **columns: Any) -> dict[str, Any]:
    row = said(row_id, "", **{"filename": "a.wav", "status": "completed", **columns})
    del row["text"], row["lexemes"]
    return row


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


@pytest.mark.parametrize("query", ["dentist", "-the the", '"the dentist" or flight', "herring xyzzy"])
async def test_the_second_query_answers_by_index_what_the_first_did_without(tables: Tables, query: str) -> None:
    rows = [said(number, text, account=("ada", "bob")[number % 2]) for number, text in enumerate(texts(2000))]
    tables.write("turns", rows)
    search = Search(tables)
    first = await search.turns("ada", query, 30)
    await search.wait_until_indexed()
    assert await search.turns("ada", query, 30) == first
    expected = pl.DataFrame(rows).filter(matches(parse(query)), pl.col("account") == "ada").sort("id", descending=True)
    assert [hit.row["id"] for hit in first] == expected["id"].to_list()[:30]


async def test_what_is_written_later_is_found_beside_what_is_indexed(tables: Tables) -> None:
    tables.write("turns", [said(number, "a dentist") for number in range(100)])
    search = Search(tables)
    await search.turns("ada", "dentist")
    await search.wait_until_indexed()
    tables.write("turns", [said(200, "another dentist"), said(201, "no teeth")])
    await tables.look_again()
    assert [hit.row["id"] for hit in await search.turns("ada", "dentist", 3)] == [200, 99, 98]
    await search.wait_until_indexed()
    assert [hit.row["id"] for hit in await search.turns("ada", "dentist", 3)] == [200, 99, 98]


async def test_deleted_and_superseded_transcriptions_stay_unfound_once_indexed(tables: Tables) -> None:
    tables.write("segments", [said(number, "my dentist", start_secs=5.0) for number in (1, 2, 3)])
    tables.write("transcriptions", [recording(number) for number in (1, 2, 3)])
    search = Search(tables)
    assert [hit.row["id"] for hit in await search.transcriptions("ada", "dentist")] == [3, 2, 1]
    await search.wait_until_indexed()
    tables.write("segments", [said(2, "a florist", revision=1)])
    tables.write("transcriptions", [recording(2, revision=1), recording(3, revision=1, status="deleted")])
    await tables.look_again()
    for _ in range(2):
        hits = await search.transcriptions("ada", "dentist")
        assert [(hit.row["id"], hit.start_secs) for hit in hits] == [(1, 5.0)]
        assert [hit.row["id"] for hit in await search.transcriptions("ada", "florist")] == [2]
        await search.wait_until_indexed()


async def test_many_queries_at_once_agree_while_the_index_is_made(tables: Tables) -> None:
    tables.write("turns", [said(number, text) for number, text in enumerate(texts(1000))])
    search = Search(tables)
    found = await asyncio.gather(*(search.turns("ada", "dentist -flight") for _ in range(50)))
    assert found[0]
    assert all(hits == found[0] for hits in found)
