"""The newest matches of several sorted runs, reading no further back than they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.postings import Postings, Stretch
from lakehouse.search.rows import Places, Run, SpanRun, slices
from lakehouse.search.websearch import Query

Hit = TypeVar("Hit")
Key = tuple[int, int]
"""(created_at in microseconds, id): the order of every list."""

_BEGIN: Key = (2**63 - 1, 2**63 - 1)
_END: Key = (-(2**63), -(2**63))


@dataclass(frozen=True, slots=True)
class Match:
    """A row that matches: place ``place`` of run ``run`` of stream kind ``kind``."""

    kind: str
    run: int
    place: int


Stream = Iterator[tuple[Key, list[tuple[Key, Match]]]]
"""For each slice the key of its oldest row, and its matches."""
Confirm = Callable[[list[tuple[Key, list[Match]]]], list[Hit]]


def stream(
    kind: str,
    number: int,
    run: Run,
    read: Callable[[Run, Places], pl.DataFrame],
    test: Callable[[pl.DataFrame], pl.Series],
    keep: int | None = None,
) -> Stream:
    """The rows of ``run`` for which ``test`` holds of what ``read`` gives; of a slice the ``keep`` newest, if given."""
    keys = run.part.keys
    for places in slices(run):
        found = places[test(read(run, places)).to_numpy()][::-1][:keep]
        oldest = (int(keys.created[places[0]]), int(keys.ids[places[0]]))
        times, ids = keys.created[found].tolist(), keys.ids[found].tolist()
        matches = (Match(kind, number, place) for place in found.tolist())
        yield oldest, list(zip(zip(times, ids, strict=True), matches, strict=True))


def indexed(
    kind: str, number: int, run: SpanRun, postings: Postings, query: Query, keep: int | None = None
) -> list[Stream]:
    """The rows of ``run`` that match, by the index of its part; of a stretch the ``keep`` newest, if given."""
    counted = _counted(run, postings)
    return [_stretches(kind, number, run, postings, counted, found, keep) for found in postings.search(query)]


def _stretches(
    kind: str,
    number: int,
    run: SpanRun,
    postings: Postings,
    counted: NDArray[np.bool_] | None,
    stretches: Iterator[Stretch],
    keep: int | None,
) -> Stream:
    keys = run.part.keys
    for stretch in stretches:
        offsets = postings.offsets_of(stretch.found)
        if counted is not None:
            offsets = offsets[counted[offsets]]
        places = offsets[::-1][:keep] + run.low
        matches = (Match(kind, number, place) for place in places.tolist())
        oldest = run.low + int(postings.offsets_of(np.array([stretch.oldest]))[0])
        times, ids = keys.created[places].tolist(), keys.ids[places].tolist()
        key = (int(keys.created[oldest]), int(keys.ids[oldest]))
        yield key, list(zip(zip(times, ids, strict=True), matches, strict=True))


def _counted(run: SpanRun, postings: Postings) -> NDArray[np.bool_] | None:
    """``(n,) bool``, by offset: which rows of the index are in ``run``. None for all."""
    if len(run) == len(postings):
        return None
    counted = np.zeros(len(postings), bool)
    counted[run.picks] = True
    return counted


def newest(streams: Sequence[Stream], limit: int, confirm: Confirm[Hit]) -> list[Hit]:
    """The first ``limit`` hits that ``confirm`` makes of the matches, newest first.

    ``confirm`` gets a key with all its matches, from whichever streams, and may drop it. A key is settled when every stream
    has been read past it; of the streams, the one that is least far back is always read next.
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
