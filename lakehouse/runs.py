"""Runs: one account's rows of one part, in order of time; and pages over several runs by rank, without reading a row.

A list is the merge of a few runs by (created_at, id): the account's rows in each part of the table, and those acknowledged
since. Its total is a sum of lengths, and the rows at ranks ``start`` to ``start + count`` are found by binary search in all
runs at once, so that page 10,000 costs what page 1 does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lakehouse.parts import Part

_NO_PLACES = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows ``low`` to ``high`` of a part's keys, without those hidden, by (created_at, id).

    ``picks``: ``(n,) int32`` offsets from ``low`` in that order, or None when it is all rows as they lie.
    """

    part: Part
    low: int
    high: int
    picks: NDArray[np.int32] | None = None
    _by_code: dict[str | None, Run] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, part: Part, low: int, high: int, hidden: NDArray[np.int64] = _NO_PLACES) -> Run:
        """The run of a span of ``part``; ``hidden`` are places to leave out besides the part's own."""
        keys = part.keys
        first, last = np.searchsorted(keys.hidden, np.array([low, high]))
        gone = np.concatenate([keys.hidden[first:last], hidden]) - low
        created = keys.created[low:high]
        if len(gone):
            kept = np.delete(np.arange(high - low, dtype=np.int32), gone)
            # Stable, and places are in order of id: ties in time stay in that order.
            return cls(part, low, high, kept[np.argsort(created[kept], kind="stable")])
        if np.all(created[:-1] <= created[1:]):
            return cls(part, low, high)
        return cls(part, low, high, np.argsort(created, kind="stable").astype(np.int32))

    def __len__(self) -> int:
        return self.high - self.low if self.picks is None else len(self.picks)

    def where(self, value: str | None) -> Run:
        """The rows whose code column is ``value``; remembered, as filters come back with every page."""
        run = self._by_code.get(value)
        if run is None:
            keys = self.part.keys
            code = keys.values.index(value) if value in keys.values else len(keys.values)
            found = np.flatnonzero(self._view(keys.codes) == code).astype(np.int32)
            picks = found if self.picks is None else self.picks[found]
            run = self._by_code[value] = Run(self.part, self.low, self.high, picks)
        return run

    def where_hash(self, value: np.uint32) -> Run:
        """The rows whose hashed column may be what ``value`` is the hash of."""
        found = np.flatnonzero(self._view(self.part.keys.hashes) == value).astype(np.int32)
        return Run(self.part, self.low, self.high, found if self.picks is None else self.picks[found])

    def without(self, ids: NDArray[np.int64]) -> Run:
        """The rows that have none of ``ids``."""
        own = self.part.keys.ids[self.low : self.high]
        at = own.searchsorted(ids, "right") - 1
        gone = at[(at >= 0) & (own[at] == ids)]
        if not len(gone):
            return self
        picks = np.arange(len(own), dtype=np.int32) if self.picks is None else self.picks
        return Run(self.part, self.low, self.high, picks[~np.isin(picks, gone)])

    def created_at(self, rank: int) -> int:
        return int(self.part.keys.created[self._place(rank)])

    def id_at(self, rank: int) -> int:
        return int(self.part.keys.ids[self._place(rank)])

    def rank_of(self, created: int, start: int = 0, end: int | None = None) -> int:
        """How many rows are older than ``created``, microseconds; ranks before ``start`` known to be."""
        end = len(self) if end is None else end
        if self.picks is None:
            found = self.part.keys.created[self.low + start : self.low + end].searchsorted(np.int64(created))
            return start + int(found)
        return bisect_left(range(len(self)), created, start, end, key=self.created_at)

    def rank_of_id(self, row_id: int, start: int, end: int) -> int:
        """As ``rank_of`` by id, among ranks ``start`` to ``end``, which are of one time."""
        return bisect_left(range(len(self)), row_id, start, end, key=self.id_at)

    def places(self, start: int, end: int) -> NDArray[np.int64]:
        """Places in the part's keys of the rows of rank ``start`` to ``end``."""
        if self.picks is None:
            return np.arange(self.low + start, self.low + end, dtype=np.int64)
        return self.picks[start:end].astype(np.int64) + self.low

    def _place(self, rank: int) -> int:
        return self.low + (rank if self.picks is None else int(self.picks[rank]))

    def _view(self, column: NDArray[np.generic]) -> NDArray[np.generic]:
        view = column[self.low : self.high]
        return view if self.picks is None else view[self.picks]


@dataclass(frozen=True, slots=True)
class Clip:
    """Ranks ``start`` to ``end`` of a run."""

    run: Run
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def clip(run: Run, since: int | None, until: int | None) -> Clip:
    """The rows from ``since`` to ``until``, microseconds since 1970, both inclusive."""
    start = 0 if since is None else run.rank_of(since)
    end = len(run) if until is None else run.rank_of(until + 1)
    return Clip(run, start, max(start, end))


@dataclass(frozen=True, slots=True)
class Found:
    """A row of a page: place ``place`` of the keys of run number ``source``."""

    source: int
    place: int


def page(clips: Sequence[Clip], offset: int, limit: int, *, descending: bool) -> list[Found]:
    """Rows ``offset`` to ``offset + limit`` of the merge of ``clips`` by (created_at, id); equal ones by number of clip."""
    total = sum(map(len, clips))
    start, end = (max(0, total - offset - limit), total - offset) if descending else (offset, min(total, offset + limit))
    if start >= end:
        return []
    count = end - start
    found: list[tuple[int, int, int, int]] = []
    for source, (part, first) in enumerate(zip(clips, _frontier(clips, start), strict=True)):
        keys = part.run.part.keys
        places = part.run.places(first, min(part.end, first + count))
        times, ids = keys.created[places].tolist(), keys.ids[places].tolist()
        found += zip(times, ids, [source] * len(places), places.tolist(), strict=True)
    found.sort()
    rows = [Found(source, place) for _, _, source, place in found[:count]]
    return rows[::-1] if descending else rows


def _frontier(clips: Sequence[Clip], rank: int) -> list[int]:
    """For each clip the rank in its run at which the row of rank ``rank`` of the merge, or what follows it, stands."""
    filled = [c for c in clips if len(c)]
    if len(filled) <= 1:
        return [c.start + rank if len(c) else c.start for c in clips]
    low = min(c.run.created_at(c.start) for c in filled)
    high = max(c.run.created_at(c.end - 1) for c in filled)
    bounds = [(c.start, c.end) for c in clips]
    # The largest time that at most ``rank`` rows are older than; then the same by id among the rows of that time.
    while low < high:
        middle = (low + high + 1) // 2
        cuts = [c.run.rank_of(middle, a, b) for c, (a, b) in zip(clips, bounds, strict=True)]
        older = sum(cut - c.start for cut, c in zip(cuts, clips, strict=True))
        if older <= rank:
            low, bounds = middle, [(cut, b) for cut, (_, b) in zip(cuts, bounds, strict=True)]
        else:
            high, bounds = middle - 1, [(a, cut) for cut, (a, _) in zip(cuts, bounds, strict=True)]
    starts = [c.run.rank_of(low, c.start, c.end) for c in clips]
    ends = [c.run.rank_of(low + 1, start, c.end) for c, start in zip(clips, starts, strict=True)]
    return _among_equals(clips, starts, ends, rank - sum(s - c.start for s, c in zip(starts, clips, strict=True)))


def _among_equals(clips: Sequence[Clip], starts: list[int], ends: list[int], skip: int) -> list[int]:
    """Move ``starts`` past the first ``skip`` rows, by id and then by clip, of ranks that are all of one time."""
    tied = [(c.run, s, e) for c, s, e in zip(clips, starts, ends, strict=True) if s < e]
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
    moved = [c.run.rank_of_id(low, s, e) for c, s, e in zip(clips, starts, ends, strict=True)]
    left = skip - sum(m - s for m, s in zip(moved, starts, strict=True))
    for i, (c, m, e) in enumerate(zip(clips, moved, ends, strict=True)):
        step = min(left, c.run.rank_of_id(low + 1, m, e) - m)
        moved[i], left = m + step, left - step
    return moved
