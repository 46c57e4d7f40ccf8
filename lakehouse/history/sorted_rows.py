"""Sorted runs of one account's rows, and pages over several runs by rank, without reading a row.

A list is the merge by (created_at, id) of a few runs: the account's rows in each part of the table, and those acknowledged
since. Its total is the sum of their lengths. The rows of rank ``start`` to ``start + count`` are found by binary search in
all runs at once, so page 10,000 costs as much as page 1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lakehouse.history.table_parts import TablePart

NEAR_ROWS = 64
"""A page within so many rows of the first or the last one of a list is taken from the ends of all runs."""
_NO_POSITIONS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SortedRows:
    """A sorted run: rows ``low`` to ``high`` of a part's index, without the hidden ones, by (created_at, id)."""

    part: TablePart
    low: int
    high: int
    offsets: NDArray[np.int32] | None = None
    """``(n,)`` offsets from ``low`` in that order, or None if the run is all rows in the order of the index."""
    _by_code: dict[str | None, SortedRows] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, part: TablePart, low: int, high: int, hidden: NDArray[np.int64] = _NO_POSITIONS) -> SortedRows:
        """The run of a span of ``part``. ``hidden``: positions to leave out besides those the index hides."""
        index = part.index
        first, last = np.searchsorted(index.hidden, np.array([low, high]))
        gone = np.concatenate([index.hidden[first:last], hidden]) - low
        created = index.created[low:high]
        if len(gone):
            visible = np.delete(np.arange(high - low, dtype=np.int32), gone)
            # Positions are in order of id, and a stable sort keeps that order among equal times.
            return cls(part, low, high, visible[np.argsort(created[visible], kind="stable")])
        if np.all(created[:-1] <= created[1:]):
            return cls(part, low, high)
        return cls(part, low, high, np.argsort(created, kind="stable").astype(np.int32))

    def __len__(self) -> int:
        return self.high - self.low if self.offsets is None else len(self.offsets)

    def where(self, value: str | None) -> SortedRows:
        """The rows whose filter column is ``value``. Cached, since each page of a list asks for them again."""
        run = self._by_code.get(value)
        if run is None:
            index = self.part.index
            code = index.values.index(value) if value in index.values else len(index.values)
            found = np.flatnonzero(self._view(index.codes) == code).astype(np.int32)
            offsets = found if self.offsets is None else self.offsets[found]
            run = self._by_code[value] = SortedRows(self.part, self.low, self.high, offsets)
        return run

    def where_hash(self, value: np.uint32) -> SortedRows:
        """The rows whose hashed column has the hash ``value``."""
        found = np.flatnonzero(self._view(self.part.index.hashes) == value).astype(np.int32)
        return SortedRows(self.part, self.low, self.high, found if self.offsets is None else self.offsets[found])

    def without(self, ids: NDArray[np.int64]) -> SortedRows:
        """The rows with none of ``ids``."""
        own = self.part.index.ids[self.low : self.high]
        at = own.searchsorted(ids, "right") - 1
        gone = at[(at >= 0) & (own[at] == ids)]
        if not len(gone):
            return self
        offsets = np.arange(len(own), dtype=np.int32) if self.offsets is None else self.offsets
        return SortedRows(self.part, self.low, self.high, offsets[~np.isin(offsets, gone)])

    def created_at(self, rank: int) -> int:
        """Time of the row of ``rank``, microseconds since 1970 UTC. Ranks count from the oldest row."""
        return int(self.part.index.created[self._position(rank)])

    def id_at(self, rank: int) -> int:
        """Id of the row of ``rank``."""
        return int(self.part.index.ids[self._position(rank)])

    def rank_of(self, created: int, start: int = 0, end: int | None = None) -> int:
        """How many rows are older than ``created`` (microseconds). Rows of rank below ``start`` must be older."""
        end = len(self) if end is None else end
        if self.offsets is None:
            found = self.part.index.created[self.low + start : self.low + end].searchsorted(np.int64(created))
            return start + int(found)
        return bisect_left(range(len(self)), created, start, end, key=self.created_at)

    def rank_of_id(self, row_id: int, start: int, end: int) -> int:
        """As `rank_of` by id, among ranks ``start`` to ``end``, which must be of one time."""
        return bisect_left(range(len(self)), row_id, start, end, key=self.id_at)

    def positions(self, start: int, end: int) -> NDArray[np.int64]:
        """``(n,)`` positions in the part's index of the rows of rank ``start`` to ``end``."""
        if self.offsets is None:
            return np.arange(self.low + start, self.low + end, dtype=np.int64)
        return self.offsets[start:end].astype(np.int64) + self.low

    def _position(self, rank: int) -> int:
        return self.low + (rank if self.offsets is None else int(self.offsets[rank]))

    def _view(self, column: NDArray[np.generic]) -> NDArray[np.generic]:
        view = column[self.low : self.high]
        return view if self.offsets is None else view[self.offsets]


@dataclass(frozen=True, slots=True)
class RankRange:
    """The rows of rank ``start`` to ``end`` of a run."""

    run: SortedRows
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def ranks_between(run: SortedRows, since: int | None, until: int | None) -> RankRange:
    """The rows from ``since`` to ``until``, microseconds since 1970 UTC, both inclusive."""
    start = 0 if since is None else run.rank_of(since)
    end = len(run) if until is None else run.rank_of(until + 1)
    return RankRange(run, start, max(start, end))


@dataclass(frozen=True, slots=True)
class Found:
    """A row of a page: ``position`` in the index of the part of run number ``source``."""

    source: int
    position: int


def page(ranges: Sequence[RankRange], offset: int, limit: int, *, descending: bool) -> list[Found]:
    """Rows ``offset`` to ``offset + limit`` of the merge of ``ranges`` by (created_at, id), then by number of the range."""
    total = sum(map(len, ranges))
    start, end = (max(0, total - offset - limit), total - offset) if descending else (offset, min(total, offset + limit))
    if start >= end:
        return []
    found: list[tuple[int, int, int, int]] = []
    skip, near = _near(ranges, start, end)
    for source, (run, first, last) in enumerate(near):
        index, positions = run.part.index, run.positions(first, last)
        times, ids = index.created[positions].tolist(), index.ids[positions].tolist()
        found += zip(times, ids, [source] * len(positions), positions.tolist(), strict=True)
    found.sort()
    rows = [Found(source, position) for _, _, source, position in found[skip:][: end - start]]
    return rows[::-1] if descending else rows


def _near(ranges: Sequence[RankRange], start: int, end: int) -> tuple[int, list[tuple[SortedRows, int, int]]]:
    """Rows that contain rows ``start`` to ``end`` of the merge: how many of them come before ``start``, and for each range
    (run, first rank, end of ranks)."""
    to_newest = sum(map(len, ranges)) - start
    if to_newest <= NEAR_ROWS:
        # The newest rows of the merge are among the newest of each range. To read some more is faster than a search.
        near = [(c.run, max(c.start, c.end - to_newest), c.end) for c in ranges]
        return sum(last - first for _, first, last in near) - to_newest, near
    if end <= NEAR_ROWS:
        return start, [(c.run, c.start, min(c.end, c.start + end)) for c in ranges]
    firsts = zip(ranges, _frontier(ranges, start), strict=True)
    return 0, [(c.run, first, min(c.end, first + end - start)) for c, first in firsts]


def _frontier(ranges: Sequence[RankRange], rank: int) -> list[int]:
    """For each range the rank in its run of the first row that is not before the row of rank ``rank`` of the merge."""
    filled = [c for c in ranges if len(c)]
    if len(filled) <= 1:
        return [c.start + rank if len(c) else c.start for c in ranges]
    low = min(c.run.created_at(c.start) for c in filled)
    high = max(c.run.created_at(c.end - 1) for c in filled)
    bounds = [(c.start, c.end) for c in ranges]
    # Find the largest time that at most ``rank`` rows are older than; then the same by id among the rows of that time.
    while low < high:
        middle = (low + high + 1) // 2
        cuts = [c.run.rank_of(middle, a, b) for c, (a, b) in zip(ranges, bounds, strict=True)]
        older = sum(cut - c.start for cut, c in zip(cuts, ranges, strict=True))
        if older <= rank:
            low, bounds = middle, [(cut, b) for cut, (_, b) in zip(cuts, bounds, strict=True)]
        else:
            high, bounds = middle - 1, [(a, cut) for cut, (a, _) in zip(cuts, bounds, strict=True)]
    starts = [c.run.rank_of(low, c.start, c.end) for c in ranges]
    ends = [c.run.rank_of(low + 1, start, c.end) for c, start in zip(ranges, starts, strict=True)]
    return _among_equals(ranges, starts, ends, rank - sum(s - c.start for s, c in zip(starts, ranges, strict=True)))


def _among_equals(ranges: Sequence[RankRange], starts: list[int], ends: list[int], skip: int) -> list[int]:
    """Move ``starts`` past the first ``skip`` rows, by id and then by range, of rows that are all of one time."""
    tied = [(c.run, s, e) for c, s, e in zip(ranges, starts, ends, strict=True) if s < e]
    if not skip or not tied:
        return starts
    low = min(run.id_at(s) for run, s, _ in tied)
    high = max(run.id_at(e - 1) for run, _, e in tied)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(run.rank_of_id(middle, s, e) - s for run, s, e in tied) <= skip:
            low = middle
        else:
            high = middle - 1
    moved = [c.run.rank_of_id(low, s, e) for c, s, e in zip(ranges, starts, ends, strict=True)]
    left = skip - sum(m - s for m, s in zip(moved, starts, strict=True))
    for i, (c, m, e) in enumerate(zip(ranges, moved, ends, strict=True)):
        step = min(left, c.run.rank_of_id(low + 1, m, e) - m)
        moved[i], left = m + step, left - step
    return moved
