"""Search over what an account has: conversation turns, transcripts and their file names, texts spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lakehouse.search.compiler import matches
from lakehouse.search.kept import Kept
from lakehouse.search.names import name_matches, name_snippet
from lakehouse.search.newest import Key, Match, Stream, newest, stream
from lakehouse.search.rows import Places, Row, RowSource, Run, View, find, rows_at
from lakehouse.search.snippet import snippet
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

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._kept = Kept()

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
        tables = ("segments", "transcriptions")
        return await self._source.read(
            tables, account, lambda views: _transcriptions(views[0], views[1], query, limit, self._kept)
        )

    async def everything(self, account: str, text: str, limit: int = 20) -> list[Hit]:
        """Turns, then transcriptions, then renders: at most ``limit`` of each."""
        found = await asyncio.gather(
            self.turns(account, text, limit), self.transcriptions(account, text, limit), self.tts(account, text, limit)
        )
        return [hit for hits in found for hit in hits]

    async def _texts(self, table: str, kind: str, account: str, query: Query, limit: int) -> list[Hit]:
        if not query:
            return []
        return await self._source.read((table,), account, lambda views: _texts(views[0], kind, query, limit, self._kept))


def _texts(view: View, kind: str, query: Query, limit: int, kept: Kept) -> list[Hit]:
    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        rows = rows_at(view.runs, [(match.run, match.place) for _, found in settled for match in found[:1]])
        return [Hit(kind, row, snippet(row["text"], query)) for row in rows]

    return newest(_lexeme_streams(kind, view.runs, query, kept, limit), limit, confirm)


def _transcriptions(segments: View, transcriptions: View, query: Query, limit: int, kept: Kept) -> list[Hit]:
    def confirm(settled: list[tuple[Key, list[Match]]]) -> list[Hit]:
        # A segment counts as long as its transcription does: deleted ones are in no view.
        placed = [(found, find(transcriptions.runs, *key)) for key, found in settled]
        known = [(found, place) for found, place in placed if place is not None]
        rows = rows_at(transcriptions.runs, [place for _, place in known])
        hits = (_hit(row, found, segments.runs, query) for row, (found, _) in zip(rows, known, strict=True))
        return [hit for hit in hits if hit is not None]

    def read(run: Run, places: Places) -> pl.DataFrame:
        return kept.read(run, places, ("filename",))

    def test(frame: pl.DataFrame) -> pl.Series:
        return name_matches(query, frame["filename"])

    names = [stream("name", number, run, read, test, limit) for number, run in enumerate(transcriptions.runs)]
    return newest([*_lexeme_streams("segment", segments.runs, query, kept), *names], limit, confirm)


def _hit(row: Row, found: list[Match], runs: Sequence[Run], query: Query) -> Hit | None:
    """The hit for one transcription; None if all that matched are segments of a revision that no longer counts."""
    rows = rows_at(runs, [(match.run, match.place) for match in found if match.kind == "segment"])
    current = [segment for segment in rows if segment["revision"] == row["revision"]]
    if current:
        first = min(current, key=lambda segment: segment["start_secs"])
        return Hit(TRANSCRIPTION, row, snippet(first["text"], query), first["start_secs"])
    if any(match.kind == "name" for match in found):
        return Hit(TRANSCRIPTION, row, name_snippet(row["filename"], query))
    return None


def _lexeme_streams(kind: str, runs: Sequence[Run], query: Query, kept: Kept, keep: int | None = None) -> list[Stream]:
    test = matches(query)

    def read(run: Run, places: Places) -> pl.DataFrame:
        return kept.read(run, places, ("lexemes",))

    def holds(frame: pl.DataFrame) -> pl.Series:
        return frame.select(test.alias("holds"))["holds"]

    return [stream(kind, number, run, read, holds, keep) for number, run in enumerate(runs)]
