"""The newest matches of several sorted runs, found without reading further back than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.part_index import PartIndex
from lakehouse.search.postings import Postings, RankSpan, Stretch
from lakehouse.search.protocols import Positions, RowKeys, SortedRun, SpanRun, slices
from lakehouse.search.websearch import Query

Hit = TypeVar("Hit")
Key = tuple[int, int]
"""(created_at in microseconds since 1970 UTC, id): the order of every list."""

_BEGIN: Key = (2**63 - 1, 2**63 - 1)
_END: Key = (-(2**63), -(2**63))


@dataclass(frozen=True, slots=True)
class Match:
    """A row that matches, at ``position`` of run number ``run`` among the streams of a ``kind``."""

    kind: str
    run: int
    position: int


Stream = Iterator[tuple[Key, list[tuple[Key, Match]]]]
"""Slices, newest first: the key of the oldest row of each, and its matches, newest first."""
Confirm = Callable[[list[tuple[Key, list[Match]]]], list[Hit]]


def stream(
    kind: str,
    number: int,
    run: SortedRun,
    read: Callable[[SortedRun, Positions], pl.DataFrame],
    test: Callable[[pl.DataFrame], pl.Series],
    keep: int | None = None,
    before: Key | None = None,
) -> Stream:
    """The rows of ``run`` for which ``test`` is true, by reading them; at most the ``keep`` newest of each slice.

    ``before``: only rows that are older than this key.
    """
    index = run.part.index
    for positions in slices(run, None if before is None else run.rank_of(before[0] + 1)):
        found = _older(index, positions[test(read(run, positions)).to_numpy()], before)[::-1][:keep]
        oldest = (int(index.created[positions[0]]), int(index.ids[positions[0]]))
        times, ids = index.created[found].tolist(), index.ids[found].tolist()
        matches = (Match(kind, number, position) for position in found.tolist())
        yield oldest, list(zip(zip(times, ids, strict=True), matches, strict=True))


def indexed(
    kind: str,
    number: int,
    run: SpanRun,
    index: PartIndex,
    query: Query,
    keep: int | None = None,
    before: Key | None = None,
) -> list[Stream]:
    """The rows of ``run`` that match, from the index of its part; at most the ``keep`` newest of each stretch.

    ``before``: only rows that are older than this key.
    """
    counted = _counted(run)
    found: list[Stream] = []
    for postings, low, high in index.within(run.low, run.high):
        if before is not None:
            high = postings.rank_of(before[0] + 1, low, high, run.part.index.created)
        if low < high:
            source = _Indexed(kind, number, run, postings, counted, keep, before)
            newest_key = source.key(high - 1)
            found += [source.stream(newest_key, each) for each in RankSpan(postings, low, high).search(query)]
    return found


@dataclass(frozen=True, slots=True)
class _Indexed:
    """Turns the ranks that a segment of an index finds into matches. ``counted``: see `_counted`."""

    kind: str
    number: int
    run: SpanRun
    postings: Postings
    counted: NDArray[np.bool_] | None
    keep: int | None
    before: Key | None

    def stream(self, newest_key: Key, stretches: Iterator[Stretch]) -> Stream:
        # First where the rows begin, so that old parts are not searched as long as newer ones have enough hits.
        yield (newest_key[0], newest_key[1] + 1), []
        keys = self.run.part.index
        for stretch in stretches:
            positions = self.postings.offsets_of(stretch.found) + self.postings.first
            if self.counted is not None:
                positions = positions[self.counted[positions - self.run.low]]
            positions = _older(keys, positions, self.before)[::-1][: self.keep]
            matches = (Match(self.kind, self.number, position) for position in positions.tolist())
            times, ids = keys.created[positions].tolist(), keys.ids[positions].tolist()
            yield self.key(stretch.oldest), list(zip(zip(times, ids, strict=True), matches, strict=True))

    def key(self, rank: int) -> Key:
        """The key of the row of a rank."""
        position = self.postings.first + int(self.postings.offsets_of(np.array([rank]))[0])
        return int(self.run.part.index.created[position]), int(self.run.part.index.ids[position])


def _older(index: RowKeys, positions: Positions, before: Key | None) -> Positions:
    """Those of ``positions`` whose rows are older than ``before``; all without it."""
    if before is None:
        return positions
    created, ids = index.created[positions], index.ids[positions]
    older: Positions = positions[(created < before[0]) | ((created == before[0]) & (ids < before[1]))]
    return older


def _counted(run: SpanRun) -> NDArray[np.bool_] | None:
    """``(n,) bool`` by offset from ``low``: which of the account's rows in the part are in ``run``; None if all are."""
    if len(run) == run.high - run.low:
        return None
    counted = np.zeros(run.high - run.low, bool)
    counted[run.offsets] = True
    return counted


def newest(streams: Sequence[Stream], limit: int, confirm: Confirm[Hit]) -> list[Hit]:
    """The first ``limit`` hits that ``confirm`` makes of the matches, newest first.

    ``confirm`` gets each key with all its matches, of whichever streams, and may drop it. A key is settled when every
    stream was read past it. The stream that was read least far back is read next.
    """
    frontiers = [_BEGIN] * len(streams)
    waiting: dict[Key, list[Match]] = {}
    hits: list[Hit] = []
    while True:
        horizon = max(frontiers, default=_END)
        settled = sorted((key for key in waiting if key > horizon), reverse=True)
        while settled and len(hits) < limit:
            batch, settled = settled[: limit - len(hits)], settled[limit - len(hits) :]
            hits += confirm([(key, waiting.pop(key)) for key in batch])
        if len(hits) >= limit or horizon == _END:
            return hits[:limit]
        chosen = frontiers.index(horizon)
        frontiers[chosen], found = next(streams[chosen], (_END, []))
        for key, match in found:
            waiting.setdefault(key, []).append(match)
