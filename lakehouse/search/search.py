"""Search over an account's conversation turns, transcripts and their file names, and rendered texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from lakehouse.search.compiler import matches
from lakehouse.search.decoded_column_cache import DecodedColumnCache
from lakehouse.search.filenames import may_match, name_matches, name_snippet
from lakehouse.search.index_cache import DEFAULT_BYTES, IndexCache
from lakehouse.search.merge_newest import Key, Match, Stream, indexed, newest, stream
from lakehouse.search.part_index import PartIndex
from lakehouse.search.protocols import (
    IndexMaker,
    Positions,
    Row,
    RowPart,
    RowSource,
    SortedRun,
    SpanRun,
    View,
    find,
    rows_at,
)
from lakehouse.search.shown_rows import SHOWN, read_shown, with_keys
from lakehouse.search.snippet import snippet, snippets
from lakehouse.search.websearch import Query, parse
from schemas.domain import Seconds

AHEAD_WITHIN_SECS: Final[Seconds] = 3600.0
"""After a search of a table, indexes of its new files are built before they are asked for, for this time."""
TURN, TRANSCRIPTION, TTS = "conversation_turn", "transcription", "tts"
FROM_NEWEST: Mapping[str, Key | None] = {TURN: None, TRANSCRIPTION: None, TTS: None}
"""All kinds of hits, each from its newest on."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One found row, with the columns that hits show (`SHOWN`; all of a transcription). ``snippet`` is HTML, see `snippet`.

    ``start_secs``: start of the first segment that matches; None if only the file name matches, and for other kinds.
    """

    object: str
    row: Row
    snippet: str
    start_secs: float | None = None


class Search:
    """Methods take a query as typed, and give at most ``limit`` hits, newest first; with ``before``, only older ones.

    They raise InvalidParameter for a query over its limits. A query of stop words alone finds nothing.
    """

    def __init__(
        self,
        source: RowSource,
        *,
        index_bytes: int = DEFAULT_BYTES,
        index_folder: Path | None = None,
        index_maker: IndexMaker | None = None,
    ) -> None:
        """``index_folder``: where indexes of files are stored, for all readers of this machine; None: in memory.

        ``index_maker``: makes indexes for that folder; None makes them on a thread.
        """
        self._source = source
        self._columns = DecodedColumnCache()
        self._indexes = IndexCache(index_bytes, index_folder, index_maker)
        self._searched_at: dict[str, float] = {}

    async def wait_until_indexed(self) -> None:
        """Wait until the indexes that earlier queries started are built. Without them queries take longer."""
        await asyncio.to_thread(self._indexes.wait)

    def build_ahead(self, table: str, parts: Sequence[RowPart]) -> list[Future[None]]:
        """Build the indexes of files that a new snapshot has, if its table was searched lately: what is being built.

        So the first query of that snapshot need not scan what a merge wrote.
        """
        searched_at = self._searched_at.get(table)
        if searched_at is None or time.monotonic() - searched_at > AHEAD_WITHIN_SECS:
            return []
        files = [part for part in parts if part.uri is not None and self._indexes.of(table, part) is None]
        started = (self._indexes.start_building(table, part) for part in files)
        return [future for future in started if future is not None]

    def close(self) -> None:
        """Build no more indexes."""
        self._indexes.close()

    @property
    def index_bytes(self) -> int:
        """Memory of all indexes that are in no file."""
        return self._indexes.num_bytes

    async def turns(self, account: str, text: str, limit: int = 20, before: Key | None = None) -> list[Hit]:
        """Conversation turns whose text matches."""
        return await self._texts("turns", TURN, account, parse(text), limit, before)

    async def tts(self, account: str, text: str, limit: int = 20, before: Key | None = None) -> list[Hit]:
        """Speech renders whose text matches."""
        return await self._texts("tts_renders", TTS, account, parse(text), limit, before)

    async def transcriptions(self, account: str, text: str, limit: int = 20, before: Key | None = None) -> list[Hit]:
        """Transcriptions with a segment, or a file name, that matches the whole query; one hit each."""
        query = parse(text)
        if not may_match(query):
            return []

        def find(views: Sequence[View]) -> list[Hit]:
            with self._searched("segments", views[0]) as segments:
                return _transcriptions(segments, views[1], query, limit, before, self._columns)

        return await self._source.read(("segments", "transcriptions"), account, find)

    async def everything(
        self, account: str, text: str, limit: int = 20, before: Mapping[str, Key | None] = FROM_NEWEST
    ) -> list[Hit]:
        """Turns, then transcriptions, then renders: at most ``limit`` of each. Kinds that ``before`` lacks are left out."""
        searches = {TURN: self.turns, TRANSCRIPTION: self.transcriptions, TTS: self.tts}
        wanted = [search(account, text, limit, before[kind]) for kind, search in searches.items() if kind in before]
        return [hit for hits in await asyncio.gather(*wanted) for hit in hits]

    async def _texts(self, table: str, kind: str, account: str, query: Query, limit: int, before: Key | None) -> list[Hit]:
        if not query:
            return []

        def find(views: Sequence[View]) -> list[Hit]:
            with self._searched(table, views[0]) as texts:
                return _texts(texts, kind, query, limit, before)

        return await self._source.read((table,), account, find)

    @contextmanager
    def _searched(self, table: str, view: View) -> Iterator[_Searched]:
        """``view`` with its indexes. Those that are missing are started once the query is answered, newest rows first."""
        self._searched_at[table] = time.monotonic()
        indexes = [self._indexes.of(table, run.part) for run in view.runs]
        yield _Searched(view.runs, indexes, SHOWN[table], self._columns)
        missing = [run for run, index in zip(view.runs, indexes, strict=True) if index is None]
        for run in sorted(missing, key=lambda run: int(run.part.index.created[run.high - 1]), reverse=True):
            self._indexes.start_building(table, run.part)


@dataclass(frozen=True, slots=True)
class _Searched:
    """Sorted runs with a lexeme column, and the index of each, None if there is none."""

    runs: Sequence[SpanRun]
    indexes: Sequence[PartIndex | None]
    shown: tuple[str, ...]
    columns: DecodedColumnCache

    def streams(self, kind: str, query: Query, keep: int | None, before: Key | None) -> list[Stream]:
        """The rows that match, from the index if there is one, else by reading them. ``keep``, ``before``: see `stream`."""
        found: list[Stream] = []
        for number, (run, index) in enumerate(zip(self.runs, self.indexes, strict=True)):
            if index is None:
                found.append(self._read(kind, number, run, query, keep, before))
            else:
                found += indexed(kind, number, run, index, query, keep, before)
        return found

    def _read(self, kind: str, number: int, run: SortedRun, query: Query, keep: int | None, before: Key | None) -> Stream:
        test = matches(query)

        def read(run: SortedRun, positions: Positions) -> pl.DataFrame:
            return self.columns.read(run, positions, ("lexemes",))

        def holds(frame: pl.DataFrame) -> pl.Series:
            return frame.select(test.alias("holds"))["holds"]

        return stream(kind, number, run, read, holds, keep, before)

    def rows(self, found: Sequence[tuple[int, int]]) -> list[Row]:
        """What is shown of the rows at (number of the run, position)."""

        def read(number: int, positions: Positions) -> list[Row]:
            index, part = self.indexes[number], self.runs[number].part
            if index is None or part.uri is None:
                return read_shown(part, positions, self.shown)
            return with_keys(part, positions, index.rows_at(positions))

        return rows_at(self.runs, found, read)


def _texts(texts: _Searched, kind: str, query: Query, limit: int, before: Key | None) -> list[Hit]:
    shown = snippets(query)

    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        rows = texts.rows([(match.run, match.position) for _, found in settled for match in found[:1]])
        return [Hit(kind, row, shown(row["text"])) for row in rows]

    return newest(texts.streams(kind, query, limit, before), limit, confirm)


def _transcriptions(
    segments: _Searched,
    transcriptions: View,
    query: Query,
    limit: int,
    before: Key | None,
    columns: DecodedColumnCache,
) -> list[Hit]:
    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        # Segments of deleted transcriptions may still be in their table; the transcriptions are in no view.
        located = [(found, find(transcriptions.runs, *key)) for key, found in settled]
        known = [(found, position) for found, position in located if position is not None]
        rows = rows_at(transcriptions.runs, [position for _, position in known])
        hits = (_hit(row, found, segments, query) for row, (found, _) in zip(rows, known, strict=True))
        return [hit for hit in hits if hit is not None]

    def read(run: SortedRun, positions: Positions) -> pl.DataFrame:
        return columns.read(run, positions, ("filename",))

    def test(frame: pl.DataFrame) -> pl.Series:
        return name_matches(query, frame["filename"])

    names = [stream("name", number, run, read, test, limit, before) for number, run in enumerate(transcriptions.runs)]
    said = segments.streams("segment", query, None, before) if query else []
    return newest([*said, *names], limit, confirm)


def _hit(row: Row, found: list[Match], segments: _Searched, query: Query) -> Hit | None:
    """The hit for one transcription; None if only segments of a superseded revision match."""
    rows = segments.rows([(match.run, match.position) for match in found if match.kind == "segment"])
    current = [segment for segment in rows if segment["revision"] == row["revision"]]
    if current:
        first = min(current, key=lambda segment: segment["start_secs"])
        return Hit(TRANSCRIPTION, row, snippet(first["text"], query), first["start_secs"])
    if any(match.kind == "name" for match in found):
        return Hit(TRANSCRIPTION, row, name_snippet(row["filename"], query))
    return None
