"""Search over what an account has: conversation turns, transcripts and their file names, texts spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from lakehouse.search.compiler import matches
from lakehouse.search.indexes import DEFAULT_BYTES, Indexes
from lakehouse.search.kept import Kept
from lakehouse.search.names import name_matches, name_snippet
from lakehouse.search.newest import Key, Match, Stream, indexed, newest, stream
from lakehouse.search.postings import Postings
from lakehouse.search.rows import Places, Row, RowSource, Run, SpanRun, View, find, rows_at, shown
from lakehouse.search.snippet import snippet, snippets
from lakehouse.search.websearch import Query, parse

TURN, TRANSCRIPTION, TTS = "conversation_turn", "transcription", "tts"


@dataclass(frozen=True, slots=True)
class Hit:
    """``row``: the columns of its table but for lexemes. ``snippet`` is HTML, see `snippet`.

    ``start_secs``: of the first segment that matches; None where only a file name does, and for other objects.
    """

    object: str
    row: Row
    snippet: str
    start_secs: float | None = None


class Search:
    """Methods take a query as typed and give at most ``limit`` hits, newest first.

    They raise InvalidParameter for a query over its limits. One of stop words alone finds nothing.
    """

    def __init__(self, source: RowSource, *, index_bytes: int = DEFAULT_BYTES) -> None:
        self._source = source
        self._kept = Kept()
        self._indexes = Indexes(index_bytes)

    async def settle(self) -> None:
        """Until the indexes that queries began are made; queries need not wait, only take longer before."""
        await asyncio.to_thread(self._indexes.wait)

    @property
    def index_bytes(self) -> int:
        """Memory of all indexes there are, about."""
        return self._indexes.num_bytes

    async def turns(self, account: str, text: str, limit: int = 20) -> list[Hit]:
        """Turns of conversations."""
        return await self._texts("turns", TURN, account, parse(text), limit)

    async def tts(self, account: str, text: str, limit: int = 20) -> list[Hit]:
        """Speech renders, by what was spoken."""
        return await self._texts("tts_renders", TTS, account, parse(text), limit)

    async def transcriptions(self, account: str, text: str, limit: int = 20) -> list[Hit]:
        """Transcriptions of which one segment matches the whole query, or the file name does. Each is one hit."""
        query = parse(text)
        if not query:
            return []

        def find(views: Sequence[View]) -> list[Hit]:
            with self._searched(views[0]) as segments:
                return _transcriptions(segments, views[1], query, limit, self._kept)

        return await self._source.read(("segments", "transcriptions"), account, find)

    async def everything(self, account: str, text: str, limit: int = 20) -> list[Hit]:
        """Turns, then transcriptions, then renders: at most ``limit`` of each."""
        found = await asyncio.gather(
            self.turns(account, text, limit), self.transcriptions(account, text, limit), self.tts(account, text, limit)
        )
        return [hit for hits in found for hit in hits]

    async def _texts(self, table: str, kind: str, account: str, query: Query, limit: int) -> list[Hit]:
        if not query:
            return []

        def find(views: Sequence[View]) -> list[Hit]:
            with self._searched(views[0]) as texts:
                return _texts(texts, kind, query, limit)

        return await self._source.read((table,), account, find)

    @contextmanager
    def _searched(self, view: View) -> Iterator[_Searched]:
        """``view`` with the indexes at hand; those that were not are begun once the query is answered."""
        indexes = [self._indexes.of(run) for run in view.runs]
        yield _Searched(view.runs, indexes, self._kept)
        for run, postings in zip(view.runs, indexes, strict=True):
            if postings is None:
                self._indexes.begin(run)


@dataclass(frozen=True, slots=True)
class _Searched:
    """Runs with a column of lexemes; for each its index, None where there is none at hand."""

    runs: Sequence[SpanRun]
    indexes: Sequence[Postings | None]
    kept: Kept

    def streams(self, kind: str, query: Query, keep: int | None = None) -> list[Stream]:
        """The rows that match, by index where there is one, else by reading them; see `stream` for ``keep``."""
        found: list[Stream] = []
        for number, (run, postings) in enumerate(zip(self.runs, self.indexes, strict=True)):
            if postings is None:
                found.append(self._read(kind, number, run, query, keep))
            else:
                found += indexed(kind, number, run, postings, query, keep)
        return found

    def _read(self, kind: str, number: int, run: Run, query: Query, keep: int | None) -> Stream:
        test = matches(query)

        def read(run: Run, places: Places) -> pl.DataFrame:
            return self.kept.read(run, places, ("lexemes",))

        def holds(frame: pl.DataFrame) -> pl.Series:
            return frame.select(test.alias("holds"))["holds"]

        return stream(kind, number, run, read, holds, keep)

    def rows(self, found: Sequence[tuple[int, int]]) -> list[Row]:
        """Rows at (number of run, place)."""

        def read(number: int, places: Places) -> list[Row]:
            postings, run = self.indexes[number], self.runs[number]
            return shown(run.part, places) if postings is None else postings.rows_at(places - run.low)

        return rows_at(self.runs, found, read)


def _texts(texts: _Searched, kind: str, query: Query, limit: int) -> list[Hit]:
    shown = snippets(query)

    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        rows = texts.rows([(match.run, match.place) for _, found in settled for match in found[:1]])
        return [Hit(kind, row, shown(row["text"])) for row in rows]

    return newest(texts.streams(kind, query, limit), limit, confirm)


def _transcriptions(segments: _Searched, transcriptions: View, query: Query, limit: int, kept: Kept) -> list[Hit]:
    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        # A segment counts as long as its transcription does: deleted ones are in no view.
        placed = [(found, find(transcriptions.runs, *key)) for key, found in settled]
        known = [(found, place) for found, place in placed if place is not None]
        rows = rows_at(transcriptions.runs, [place for _, place in known])
        hits = (_hit(row, found, segments, query) for row, (found, _) in zip(rows, known, strict=True))
        return [hit for hit in hits if hit is not None]

    def read(run: Run, places: Places) -> pl.DataFrame:
        return kept.read(run, places, ("filename",))

    def test(frame: pl.DataFrame) -> pl.Series:
        return name_matches(query, frame["filename"])

    names = [stream("name", number, run, read, test, limit) for number, run in enumerate(transcriptions.runs)]
    return newest([*segments.streams("segment", query), *names], limit, confirm)


def _hit(row: Row, found: list[Match], segments: _Searched, query: Query) -> Hit | None:
    """The hit for one transcription; None if all that matched are segments of a revision that no longer counts."""
    rows = segments.rows([(match.run, match.place) for match in found if match.kind == "segment"])
    current = [segment for segment in rows if segment["revision"] == row["revision"]]
    if current:
        first = min(current, key=lambda segment: segment["start_secs"])
        return Hit(TRANSCRIPTION, row, snippet(first["text"], query), first["start_secs"])
    if any(match.kind == "name" for match in found):
        return Hit(TRANSCRIPTION, row, name_snippet(row["filename"], query))
    return None
