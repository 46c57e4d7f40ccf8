"""The index of a part of a table, as queries of one account use it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lakehouse.search.postings import Postings
from lakehouse.search.protocols import Positions, Row


@dataclass(frozen=True, slots=True, eq=False)
class PartIndex:
    """Segments in order of position, each with the rows up to the next one."""

    segments: Sequence[Postings]

    @property
    def num_bytes(self) -> int:
        """Size of all arrays, in memory or in a file."""
        return sum(segment.num_bytes for segment in self.segments)

    def within(self, low: int, high: int) -> Iterator[tuple[Postings, int, int]]:
        """The segments that have rows of positions ``low`` to ``high``, and these as bounds of their offsets or ranks.

        The rows must be all of one account, or all of a part of its rows that a segment divides.
        """
        for segment in self.segments:
            start, end = max(low - segment.first, 0), min(high - segment.first, len(segment))
            if start < end:
                yield segment, start, end

    def rows_at(self, positions: Positions) -> list[Row]:
        """What is shown of the rows at ``positions``, in that order, without id and time."""
        firsts = [segment.first for segment in self.segments]
        rows: list[Row] = []
        for position in positions.tolist():
            segment = self.segments[bisect_right(firsts, position) - 1]
            rows.append(segment.rows.row(position - segment.first))
        return rows
