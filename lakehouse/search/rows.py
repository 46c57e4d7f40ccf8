"""What search reads: one account's rows of a table at one moment, in runs that are sorted by time.

A run is a list of places in a part of the table. Ranks count from the oldest row; ``part.read`` gives rows by place.
`lakehouse.history` and its snapshots have this shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

T = TypeVar("T")
Places = NDArray[np.int64]
Row = dict[str, Any]

FIRST_SLICE_ROWS = 2048
MAX_SLICE_ROWS = 65_536


class Keys(Protocol):
    """``ids``, ``created`` (microseconds since 1970 UTC): ``(n,) int64``, by place."""

    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def created(self) -> NDArray[np.int64]: ...


class Part(Protocol):
    @property
    def keys(self) -> Keys: ...
    @property
    def files(self) -> frozenset[str]:
        """Files whose rows these are, which never change; empty for rows that are in no file yet."""
        ...

    def read(self, places: Places, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows at ``places``, in that order. Blocks."""
        ...


class Run(Protocol):
    """An account's rows that count, those superseded and deleted left out, by (created_at, id) from the oldest on."""

    @property
    def part(self) -> Part: ...
    def __len__(self) -> int: ...
    def places(self, start: int, end: int) -> Places:
        """Places of the rows of rank ``start`` to ``end``."""
        ...

    def rank_of(self, created: int, start: int = 0, end: int | None = None) -> int:
        """How many rows are older than ``created``."""
        ...


class SpanRun(Run, Protocol):
    """A run of places ``low`` to ``high``: those at ``picks`` from ``low``, or all as they lie where that is None."""

    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def picks(self) -> NDArray[np.int32] | None: ...


class View(Protocol):
    """One account's rows of one table at one moment."""

    @property
    def runs(self) -> Sequence[SpanRun]: ...


class RowSource(Protocol):
    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[Any]], T]) -> T:
        """What ``read`` makes of views of ``tables``, on a thread; it may be called twice."""
        ...


def slices(run: Run) -> Iterator[Places]:
    """Places of all rows of ``run``, newest first, in slices that double: a hit among the newest costs little to find."""
    end, length = len(run), FIRST_SLICE_ROWS
    while end > 0:
        start = max(0, end - length)
        yield run.places(start, end)
        end, length = start, min(2 * length, MAX_SLICE_ROWS)


def find(runs: Sequence[Run], created: int, row_id: int) -> tuple[int, int] | None:
    """(number of run, place) of the row with this time and id."""
    for number, run in enumerate(runs):
        start = run.rank_of(created)
        places = run.places(start, run.rank_of(created + 1, start))
        found = np.flatnonzero(run.part.keys.ids[places] == row_id)
        if len(found):
            return number, int(places[found[-1]])
    return None


def rows_at(
    runs: Sequence[Run], found: Sequence[tuple[int, int]], read: Callable[[int, Places], Sequence[Row]] | None = None
) -> list[Row]:
    """Rows at (number of run, place), in that order and without lexemes; those of one run are read at once.

    ``read`` gives the rows of a run at places, where they are to be had cheaper than from its part.
    """
    rows: list[Row] = [{}] * len(found)
    for number in sorted({source for source, _ in found}):
        ranks = [rank for rank, (source, _) in enumerate(found) if source == number]
        places = np.array([found[rank][1] for rank in ranks], np.int64)
        some = shown(runs[number].part, places) if read is None else read(number, places)
        for rank, row in zip(ranks, some, strict=True):
            rows[rank] = row
    return rows


def shown(part: Part, places: Places) -> list[Row]:
    """Rows at ``places``, in that order and without lexemes."""
    return part.read(places).drop("lexemes", strict=False).to_dicts()
