"""Search over real tables: the newest hits and no others, one for a transcription, and no more read than they need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.storage.idle_ledger import IdleLedger
from lakehouse.history.history import History
from lakehouse.search import Search, lexemes, parse
from lakehouse.search.compiler import matches
from lakehouse.search.decoded_column_cache import DecodedColumnCache
from lakehouse.search.merge_newest import Key, Match, newest, stream
from lakehouse.search.protocols import FIRST_SLICE_ROWS
from lakehouse.storage.location import Location
from schemas.tables import table
from tests.support.search_kit import texts
from tests.support.table_rows import BEGAN, blank_row

pytestmark = pytest.mark.unit

T = TypeVar("T")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TABLES = ("turns", "segments", "transcriptions", "tts_renders")


class Tables:
    """Tables as they lie in a folder; a source of rows for search."""

    def __init__(self, folder: Path) -> None:
        self._location = Location(folder.as_posix(), fsync=False)
        for name in TABLES:
            self.write(name, [])

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows; columns not given are empty, zero or null."""
        schema = table(name).schema
        filled = [{**blank_row(schema), **row} for row in rows]
        write_deltalake(self._location.table_uri(name), pa.Table.from_pylist(filled, schema=schema), mode="append")

    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[Any]], T]) -> T:
        return await History(self._location, IdleLedger()).read(tables, account, read)


def said(row_id: int, text: str, account: str = "ada", hours: float | None = None, **columns: Any) -> dict[str, Any]:
    at = BEGAN + dt.timedelta(hours=row_id if hours is None else hours)
    return {"id": row_id, "account": account, "created_at": at, "text": text, "lexemes": lexemes(text), **columns}


def recording(row_id: int, filename: str, **columns: Any) -> dict[str, Any]:
    row = said(row_id, "", **{"filename": filename, "status": "completed", **columns})
    del row["text"], row["lexemes"]
    return row


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


@pytest.mark.parametrize(
    "query", ["dentist", "dentist or flight", "-the the", '"the dentist"', "dentist -flight", "herring xyzzy"]
)
async def test_the_newest_turns_are_those_a_scan_of_all_finds(tables: Tables, query: str) -> None:
    rows = [said(number, text, hours=(number * 7919) % 9973) for number, text in enumerate(texts(5000))]
    tables.write("turns", rows[:3000])
    tables.write("turns", rows[3000:])
    hits = await Search(tables).turns("ada", query, 30)
    all_found = pl.DataFrame(rows).filter(matches(parse(query))).sort("created_at", "id", descending=True)
    assert [hit.row["id"] for hit in hits] == all_found["id"].to_list()[:30]
    assert all("lexemes" not in hit.row and hit.object == "conversation_turn" for hit in hits)


@pytest.mark.parametrize("query", ["dentist", "dentist or flight", "dentist -flight"])
async def test_pages_of_older_hits_show_each_row_once_with_and_without_an_index(tables: Tables, query: str) -> None:
    # Many rows of the same moment, so that pages end and begin within one.
    rows = [said(number, text, hours=(number * 7919) % 97) for number, text in enumerate(texts(3000))]
    tables.write("turns", rows[:2000])
    tables.write("turns", rows[2000:])
    all_found = pl.DataFrame(rows).filter(matches(parse(query))).sort("created_at", "id", descending=True)["id"].to_list()
    search = Search(tables)
    for _ in range(2):
        shown: list[int] = []
        before: Key | None = None
        while hits := await search.turns("ada", query, 37, before):
            shown += [hit.row["id"] for hit in hits]
            last = hits[-1].row
            before = ((last["created_at"] - EPOCH) // dt.timedelta(microseconds=1), last["id"])
        assert shown == all_found
        await search.wait_until_indexed()


async def test_older_transcriptions_are_found_by_what_was_said_and_by_their_names(tables: Tables) -> None:
    ids = range(1, 8)
    tables.write("segments", [said(number, "my dentist", start_secs=1.0) for number in ids if number % 2])
    tables.write("transcriptions", [recording(number, "a.wav" if number % 2 else "dentist.wav") for number in ids])
    before = ((BEGAN + dt.timedelta(hours=5) - EPOCH) // dt.timedelta(microseconds=1), 5)
    found = await Search(tables).transcriptions("ada", "dentist", 3, before)
    assert [(hit.row["id"], hit.start_secs) for hit in found] == [(4, None), (3, 1.0), (2, None)]


async def test_nothing_of_another_account_is_found(tables: Tables) -> None:
    tables.write("turns", [said(1, "my dentist"), said(2, "a dentist", account="bob"), said(3, "no dentist", account="ad")])
    tables.write("transcriptions", [recording(4, "dentist.wav", account="bob")])
    assert [hit.row["id"] for hit in await Search(tables).everything("ada", "dentist")] == [1]
    assert await Search(tables).everything("eve", "dentist") == []


async def test_a_transcription_is_one_hit_at_its_first_segment_that_matches(tables: Tables) -> None:
    said_in_1 = ["hello there", "a dentist called", "the dentists again"]
    tables.write(
        "segments", [said(1, text, position=i, start_secs=i * 10.0) for i, text in reversed([*enumerate(said_in_1)])]
    )
    tables.write("segments", [said(2, "no teeth here", start_secs=3.0)])
    tables.write("transcriptions", [recording(1, "call.wav"), recording(2, "dentist_call.wav"), recording(3, "other.wav")])
    hits = await Search(tables).transcriptions("ada", "dentist")
    assert [(hit.row["id"], hit.start_secs, hit.snippet) for hit in hits] == [
        (2, None, "<mark>dentist</mark>_call.wav"),
        (1, 10.0, "a <mark>dentist</mark> called"),
    ]


async def test_words_of_a_name_and_of_segments_make_one_hit_with_a_time(tables: Tables) -> None:
    tables.write("segments", [said(1, "my dentist", start_secs=2.5)])
    tables.write("transcriptions", [recording(1, "Dentist-2024.mp3")])
    assert [hit.start_secs for hit in await Search(tables).transcriptions("ada", "dentists")] == [2.5]
    assert [hit.start_secs for hit in await Search(tables).transcriptions("ada", "dentist-20")] == [None]


async def test_deleted_or_superseded_transcripts_are_not_found_by_their_old_words(tables: Tables) -> None:
    tables.write("segments", [said(1, "my dentist"), said(2, "a dentist"), said(3, "dentist")])
    tables.write("transcriptions", [recording(1, "a.wav"), recording(2, "b.wav"), recording(3, "c.wav")])
    tables.write("segments", [said(2, "a florist", revision=1)])
    tables.write("transcriptions", [recording(2, "b.wav", revision=1), recording(3, "c.wav", revision=1, status="deleted")])
    search = Search(tables)
    assert [hit.row["id"] for hit in await search.transcriptions("ada", "dentist")] == [1]
    assert [hit.row["id"] for hit in await search.transcriptions("ada", "florist")] == [2]


async def test_everything_is_turns_then_transcriptions_then_renders_each_with_its_limit(tables: Tables) -> None:
    tables.write("turns", [said(number, "dentist") for number in (1, 2, 3)])
    tables.write("transcriptions", [recording(number, "dentist.wav") for number in (4, 5, 6)])
    tables.write("tts_renders", [said(number, "dear dentist") for number in (7, 8, 9)])
    found = [(hit.object, hit.row["id"]) for hit in await Search(tables).everything("ada", "dentist", 2)]
    turns, recordings = [("conversation_turn", 3), ("conversation_turn", 2)], [("transcription", 6), ("transcription", 5)]
    assert found == [*turns, *recordings, ("tts", 9), ("tts", 8)]
    only = await Search(tables).everything("ada", "dentist", 2, {"tts": None})
    assert [(hit.object, hit.row["id"]) for hit in only] == [("tts", 9), ("tts", 8)]


PIECES = {
    "AT&T call.mp3": ["AT&T", "at&t", "T&T c"],
    "Don\u2019t Panic.wav": ["don't", "don\u2019t panic", '"don\'t panic"'],
    "The Who - live.flac": ["the who", "The", "who -", '"the who"', "- live"],
    "party \U0001f389\ufe0f.m4a": ["\U0001f389", "\U0001f389\ufe0f", "party \U0001f389"],
    "2024-03-01_board-meeting.mp3": ["2024-03", "board-meeting", "-03-", "ard-mee", "2024\u201303"],
    "cafe\u0301 notes.wav": ["caf\u00e9", "cafe\u0301", "CAF\u00c9 n"],
    "[dQw4w9WgXcQ] 100% (final).webm": ["[dQw4", "100%", "(final)", "w9wg"],
}


@pytest.mark.parametrize("name", PIECES)
async def test_a_name_is_found_by_any_piece_of_it(tables: Tables, name: str) -> None:
    tables.write("transcriptions", [recording(number, other) for number, other in enumerate(PIECES, 1)])
    search = Search(tables)
    for query in PIECES[name]:
        found = await search.transcriptions("ada", query)
        assert name in [hit.row["filename"] for hit in found], query
        assert all("<mark>" in hit.snippet for hit in found if hit.row["filename"] == name), query


async def test_stop_words_alone_find_no_text(tables: Tables) -> None:
    tables.write("turns", [said(1, "the and of")])
    tables.write("transcriptions", [recording(2, "a.wav")])
    for query in ("the", "-the", "", '"', "the or of", "\x00"):
        assert await Search(tables).everything("ada", query) == []


class CountedRun:
    """``num_rows`` rows with id and time by position, of which every ``step``-th matches; counts what is read."""

    def __init__(self, num_rows: int, step: int) -> None:
        self.ids = self.created = np.arange(num_rows)
        self.frame = pl.DataFrame({"hit": self.ids % step == 0})
        self.num_read = 0

    @property
    def part(self) -> CountedRun:
        return self

    @property
    def index(self) -> CountedRun:
        return self

    @property
    def files(self) -> frozenset[str]:
        return frozenset(("one.parquet",))

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, start: int, end: int) -> NDArray[np.int64]:
        return self.ids[start:end]

    def rank_of(self, created: int, start: int = 0, end: int | None = None) -> int:
        return created

    def read(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        self.num_read += len(positions)
        return self.frame[positions]


@pytest.mark.parametrize(("step", "most_read"), [(1, 1), (100, 1), (1000, 15), (10_000, 127)])
def test_at_most_twice_the_rows_before_the_last_hit_are_read(step: int, most_read: int) -> None:
    run = CountedRun(300_000, step)
    hits = newest(
        [stream("row", 0, run, lambda _, positions: run.read(positions), lambda f: f["hit"], 20)],
        20,
        lambda found: [key[1] for key, _ in found],
    )
    assert hits == [number for number in range(299_999, -1, -1) if number % step == 0][:20]
    assert run.num_read <= most_read * FIRST_SLICE_ROWS


def test_stretches_of_files_are_read_once_as_long_as_they_fit() -> None:
    run = CountedRun(3000, 1)
    kept = DecodedColumnCache(max_bytes=int(run.frame.estimated_size()))
    for _ in range(3):
        for positions in (run.positions(0, 1000), run.positions(1000, 2000)):
            assert kept.read(run, positions, ["hit"]).equals(run.frame[positions])
    assert run.num_read == 2000
    kept.read(run, run.positions(0, 3000), ["hit"])
    kept.read(run, run.positions(0, 1000), ["hit"])
    assert run.num_read == 6000, "the larger stretch pushed out the others, and is pushed out itself"


_KEYS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=40)


@given(st.lists(_KEYS, max_size=4), st.integers(1, 10), st.integers(1, 5), st.integers(2, 5))
def test_several_streams_give_the_newest_keys_with_all_their_matches(
    runs: list[list[Key]], limit: int, length: int, dropped: int
) -> None:
    def slices(number: int, keys: list[Key]) -> Iterator[tuple[Key, list[tuple[Key, Match]]]]:
        ordered = [(key, Match("row", number, position)) for position, key in enumerate(sorted(keys, reverse=True))]
        for start in range(0, len(ordered), length):
            part = ordered[start : start + length]
            yield part[-1][0], part

    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[tuple[Key, int]]:
        return [(key, len(found)) for key, found in settled if key[0] % dropped]

    every = [key for keys in runs for key in keys]
    expected = [(key, every.count(key)) for key in sorted(set(every), reverse=True) if key[0] % dropped]
    assert newest([slices(number, keys) for number, keys in enumerate(runs)], limit, confirm) == expected[:limit]
