"""The input of search: one account's rows of a table at one point in time, in sorted runs.

A run has rows of one part of the table, by time; ranks count from its oldest row. Positions are in the index of the part.
`lakehouse.history` implements these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

T = TypeVar("T")
Positions = NDArray[np.int64]
Row = dict[str, Any]

FIRST_SLICE_ROWS = 2048
MAX_SLICE_ROWS = 65_536


class RowKeys(Protocol):
    """Ids and times of a part's ``n`` rows, by position. Positions are in order of (account, id)."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Positions at which accounts begin, and ``n``."""
        ...

    @property
    def ids(self) -> NDArray[np.int64]:
        """``(n,)``."""
        ...

    @property
    def created(self) -> NDArray[np.int64]:
        """``(n,)`` microseconds since 1970 UTC."""
        ...


class RowPart(Protocol):
    """A part of the table: a file, or rows in memory."""

    @property
    def index(self) -> RowKeys:
        """Ids and times of the rows."""
        ...

    @property
    def files(self) -> frozenset[str]:
        """Files that the rows are from, which never change; empty for rows that are in no file yet."""
        ...

    @property
    def uri(self) -> str | None:
        """The file, if the rows stay in one; None if they are in memory."""
        ...

    def read(self, positions: Positions, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows at ``positions``, in that order; only ``columns`` if given. Blocks."""
        ...

    def rows(self, positions: Positions) -> list[Row]:
        """Rows at ``positions`` without lexemes, in that order. Blocks."""
        ...


class SortedRun(Protocol):
    """An account's rows in one part, without superseded and deleted ones, by (created_at, id), oldest first."""

    @property
    def part(self) -> RowPart:
        """The part that the rows are in."""
        ...

    def __len__(self) -> int: ...
    def positions(self, start: int, end: int) -> Positions:
        """``(n,)`` positions of the rows of rank ``start`` to ``end``."""
        ...

    def rank_of(self, created: int, start: int = 0, end: int | None = None) -> int:
        """How many rows are older than ``created`` (microseconds). Rows of rank below ``start`` must be older."""
        ...


class SpanRun(SortedRun, Protocol):
    """A sorted run as an index can be built for it: of the account's positions, [``low``, ``high``), all or some."""

    @property
    def low(self) -> int:
        """First position of the account in the part."""
        ...

    @property
    def high(self) -> int:
        """End of the account's positions."""
        ...

    @property
    def offsets(self) -> NDArray[np.int32] | None:
        """``(n,)`` offsets from ``low`` of the rows, in order; None if they are all rows in the order of positions."""
        ...


class View(Protocol):
    """One account's rows of one table at one point in time."""

    @property
    def runs(self) -> Sequence[SpanRun]:
        """All visible rows, in sorted runs."""
        ...


class RowSource(Protocol):
    """Where search gets its views from."""

    async def read(self, tables: Sequence[str], account: str, read: Callable[[Sequence[Any]], T]) -> T:
        """The result of ``read``, called on a thread with one view a table. It may be called twice."""
        ...


class IndexMaker(Protocol):
    """Makes the indexes of data files elsewhere than on the calling thread."""

    def make(self, table: str, uri: str) -> None:
        """Store the index of a data file where `DerivedFiles` finds it, unless it is there. Blocks. Raises OSError."""
        ...

    def rest(self) -> None:
        """There is no more to make for now. Blocks for a moment."""
        ...

    def close(self) -> None:
        """Give up what is being made, and make no more. May be called from any thread."""
        ...


def slices(run: SortedRun, end: int | None = None) -> Iterator[Positions]:
    """Positions of the rows of ``run`` below rank ``end``, newest first, in slices that double.

    So finding a recent hit reads little. Without ``end``: of all rows.
    """
    end, length = len(run) if end is None else end, FIRST_SLICE_ROWS
    while end > 0:
        start = max(0, end - length)
        yield run.positions(start, end)
        end, length = start, min(2 * length, MAX_SLICE_ROWS)


def find(runs: Sequence[SortedRun], created: int, row_id: int) -> tuple[int, int] | None:
    """(number of the run, position) of the row with this time and id; None if there is none."""
    for number, run in enumerate(runs):
        start = run.rank_of(created)
        positions = run.positions(start, run.rank_of(created + 1, start))
        found = np.flatnonzero(run.part.index.ids[positions] == row_id)
        if len(found):
            return number, int(positions[found[-1]])
    return None


def rows_at(
    runs: Sequence[SortedRun],
    found: Sequence[tuple[int, int]],
    read: Callable[[int, Positions], Sequence[Row]] | None = None,
) -> list[Row]:
    """Rows at (number of the run, position), in that order and without lexemes, with one read for each run.

    ``read`` returns the rows of a run at positions, if there is a cheaper way than reading the run's part.
    """
    rows: list[Row] = [{}] * len(found)
    for number in sorted({source for source, _ in found}):
        ranks = [rank for rank, (source, _) in enumerate(found) if source == number]
        positions = np.array([found[rank][1] for rank in ranks], np.int64)
        some = runs[number].part.rows(positions) if read is None else read(number, positions)
        for rank, row in zip(ranks, some, strict=True):
            rows[rank] = row
    return rows
