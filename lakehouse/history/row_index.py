"""The index of a table's rows: enough to find, count and order rows without reading them.

For each row of a part of a table, in order of (account, id): its id, its time, a code of its status or voice, and a hash of
its session. A transcription takes 17 bytes, less than a tenth of its size on disk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.tables.index_specs import IndexSpec

HIDDEN_STATUS = "deleted"
"""Status of rows that no read shows."""


@dataclass(frozen=True, slots=True, eq=False)
class RowIndex:
    """Index of ``n`` rows, sorted by (account, id).

    Rows of ``accounts[i]`` are those from ``starts[i]`` to ``starts[i + 1]``.
    """

    accounts: Sequence[str]
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    """``(n,)``."""
    created: NDArray[np.int64]
    """``(n,)`` microseconds since 1970 UTC."""
    codes: NDArray[np.unsignedinteger[Any]]
    """``(n,)`` positions in ``values``, or empty."""
    values: list[str | None]
    """Values of the column that lists are filtered by."""
    hashes: NDArray[np.uint32]
    """``(n,)`` hashes of the session id, or empty."""
    revisions: NDArray[np.int32] | None
    """``(n,)``, or None if all are 0."""
    order: NDArray[np.int32] | None
    """``(n,)`` rows in the part that the entries belong to, or None if the part has the order of the index."""
    hidden: NDArray[np.int64]
    """Positions of superseded and deleted rows, ascending."""
    is_mapped: bool = False
    """Whether the arrays are those of a file (`index_files`), and take no memory of this process alone."""

    def span(self, account: str) -> tuple[int, int]:
        """[first, last) positions of the rows of ``account``; equal if it has none."""
        last = len(self.accounts) - 1
        # Most files of a large table have other accounts than this one, and looking into each would take longest.
        if last < 0 or not self.accounts[0] <= account <= self.accounts[last]:
            return 0, 0
        position = bisect_left(self.accounts, account)
        if self.accounts[position] != account:
            return 0, 0
        return int(self.starts[position]), int(self.starts[position + 1])

    def revision(self, position: int) -> int:
        """Revision of the row at ``position``."""
        return 0 if self.revisions is None else int(self.revisions[position])

    def is_hidden(self, position: int) -> bool:
        """Whether the row at ``position`` was superseded or deleted."""
        at = int(self.hidden.searchsorted(np.int64(position)))
        return at < len(self.hidden) and int(self.hidden[at]) == position

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays; 0 if they are mapped."""
        if self.is_mapped:
            return 0
        arrays = (self.starts, self.ids, self.created, self.codes, self.hashes, self.revisions, self.order, self.hidden)
        return sum(a.nbytes for a in arrays if a is not None)


def index_rows(frame: pl.DataFrame, spec: IndexSpec) -> RowIndex:
    """The index of the rows of ``frame``, which has at least ``spec.columns``, in any order."""
    order = None
    if not _is_sorted(frame, spec):
        by = ["account", "id", *(["revision"] if spec.revised else [])]
        frame = frame.with_row_index("row").sort(by, maintain_order=True)
        order = frame["row"].to_numpy().astype(np.int32)
    runs = frame.select(pl.col("account").rle()).unnest("account")
    ids = _fixed(frame["id"])
    codes, values = _codes(frame[spec.code]) if spec.code else (np.empty(0, np.uint8), [])
    return RowIndex(
        accounts=runs["value"].to_list(),
        starts=np.concatenate([[0], np.cumsum(runs["len"].to_numpy(), dtype=np.int64)]),
        ids=ids,
        created=_fixed(frame["created_at"].to_physical()),
        codes=codes,
        values=values,
        hashes=hashes(frame[spec.hashed]) if spec.hashed else np.empty(0, np.uint32),
        revisions=_revisions(frame) if spec.revised else None,
        order=order,
        hidden=_hidden(frame, spec, ids),
    )


def hashes(column: pl.Series) -> NDArray[np.uint32]:
    """``(n,)`` 32-bit hashes, the same in one version of Polars. Different strings may share one, so check the rows."""
    return (column.hash(0).to_numpy() >> np.uint64(32)).astype(np.uint32)


def _is_sorted(frame: pl.DataFrame, spec: IndexSpec) -> bool:
    same = frame.select((pl.col("account") == pl.col("account").shift()).fill_null(value=False)).to_series().to_numpy()
    steps = np.diff(frame["id"].to_numpy(), prepend=0)
    rising = steps > 0 if spec.unique else steps >= 0
    return bool(np.all(rising | ~same)) and bool(frame.filter(pl.Series(~same))["account"].is_sorted())


def _fixed(column: pl.Series) -> NDArray[np.int64]:
    """A copy, so that the buffer it was sliced from can be freed."""
    return np.array(column.to_numpy(), np.int64)


def _codes(column: pl.Series) -> tuple[NDArray[np.unsignedinteger[Any]], list[str | None]]:
    values = column.unique(maintain_order=True).to_list()
    kind = np.min_scalar_type(len(values))
    categories = pl.Series([v for v in values if v is not None], dtype=pl.String)
    positions = column.cast(pl.Enum(categories)).to_physical().cast(pl.UInt32).fill_null(len(categories))
    return positions.to_numpy().astype(kind), [*categories.to_list(), None]


def _revisions(frame: pl.DataFrame) -> NDArray[np.int32] | None:
    # Null in rows that were written before the table had revisions.
    revisions = frame["revision"].fill_null(0).to_numpy().astype(np.int32)
    return revisions if revisions.any() else None


def _hidden(frame: pl.DataFrame, spec: IndexSpec, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of rows that a later row of the same account and id supersedes, and of deleted rows."""
    if not spec.unique:
        return np.empty(0, np.int64)
    gone = np.zeros(len(ids), bool)
    twins = np.flatnonzero(ids[:-1] == ids[1:])
    if len(twins):
        accounts = frame["account"]
        gone[twins] = (accounts[twins.tolist()] == accounts[(twins + 1).tolist()]).to_numpy()
    if "status" in frame.columns:
        gone |= (frame["status"] == HIDDEN_STATUS).to_numpy()
    return np.flatnonzero(gone)
