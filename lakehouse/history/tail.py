"""Rows acknowledged since a snapshot was opened. They take precedence over the snapshot's rows.

An account's tail is immutable, so a read on a thread keeps the tail it started with; new rows make a new tail.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.history.row_index import HIDDEN_STATUS, RowIndex, hashes
from lakehouse.history.snapshot import Row, Snapshot
from lakehouse.history.sorted_rows import SortedRows
from lakehouse.history.table_parts import without_lexemes
from lakehouse.tables.index_specs import IndexSpec

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def microseconds(moment: dt.datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class RowsPart:
    """Rows that the ledger acknowledged, sorted by id: a `TablePart` without files."""

    acknowledged: Sequence[Row]
    spec: IndexSpec
    schema: pl.Schema
    files: frozenset[str] = frozenset()
    uri: None = None

    @cached_property
    def index(self) -> RowIndex:
        """See `TablePart.index`."""
        spec, rows = self.spec, self.acknowledged
        values: dict[str | None, int] = {}
        codes = [values.setdefault(row.get(spec.code), len(values)) for row in rows] if spec.code else []
        gone = [i for i, row in enumerate(rows) if row.get("status") == HIDDEN_STATUS]
        sessions = pl.Series([row[spec.hashed] for row in rows] if spec.hashed else [], dtype=pl.String)
        return RowIndex(
            accounts=[rows[0]["account"]],
            starts=np.array([0, len(rows)], np.int64),
            ids=np.array([row["id"] for row in rows], np.int64),
            created=np.array([microseconds(row["created_at"]) for row in rows], np.int64),
            codes=np.array(codes, np.uint32),
            values=list(values),
            hashes=hashes(sessions),
            revisions=None,
            order=None,
            hidden=np.array(gone, np.int64),
        )

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """See `TablePart.rows`."""
        return without_lexemes(self.read(positions))

    def read(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """See `TablePart.read`."""
        names = self.schema.names() if columns is None else columns
        rows = [self.acknowledged[position] for position in positions.tolist()]
        # One series for each column: Polars builds it faster from a list of known type than from dicts.
        return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], self.schema[name]) for name in names])


@dataclass(frozen=True, eq=False)
class AccountTail:
    """The last state of each of one account's rows, by identity."""

    rows: Mapping[Any, Row]
    spec: IndexSpec
    schema: pl.Schema

    @cached_property
    def part(self) -> RowsPart:
        """The rows as a part of the table."""
        return RowsPart(sorted(self.rows.values(), key=lambda row: row["id"]), self.spec, self.schema)

    @cached_property
    def run(self) -> SortedRows:
        """The rows by time, without deleted ones."""
        return SortedRows.of(self.part, 0, len(self.rows))

    def over(self, runs: Iterable[SortedRows]) -> tuple[SortedRows, ...]:
        """``runs`` of a snapshot without the rows that have a newer state here, and the rows here."""
        below = [run.without(self.part.index.ids) for run in runs] if self.spec.unique else list(runs)
        return tuple(run for run in (*below, self.run) if len(run))


@dataclass(eq=False)
class Tail:
    """The tails of all accounts of a table. Changed on one event loop only."""

    spec: IndexSpec
    schema: pl.Schema
    num_rows: int = 0
    _accounts: dict[str, AccountTail] = field(default_factory=dict)

    def of(self, account: str) -> AccountTail | None:
        """The tail of an account; None if it has no rows."""
        return self._accounts.get(account)

    def add(self, rows: Iterable[Row]) -> None:
        """Add acknowledged rows. Of several states of one row the last counts."""
        grown: dict[str, dict[Any, Row]] = {}
        for row in rows:
            account = row["account"]
            if account not in grown:
                known = self._accounts.get(account)
                grown[account] = dict(known.rows) if known else {}
            grown[account][tuple(row[name] for name in self.spec.identity)] = row
            self.num_rows += 1
        for account, states in grown.items():
            self._accounts[account] = AccountTail(states, self.spec, self.schema)


@dataclass(frozen=True, eq=False)
class AccountView:
    """One account's rows of one table at one point in time. Methods block; call them on a thread."""

    account: str
    snapshot: Snapshot
    tail: AccountTail | None

    @cached_property
    def runs(self) -> tuple[SortedRows, ...]:
        """All visible rows, in sorted runs."""
        runs = self.snapshot.runs(self.account)
        return runs if self.tail is None else self.tail.over(runs)

    def row(self, row_id: int) -> Row | None:
        """The row with this id; None if there is none or it was deleted."""
        if self.tail is not None:
            index = self.tail.part.index
            position = int(index.ids.searchsorted(np.int64(row_id)))
            if position < len(index.ids) and index.ids[position] == row_id:
                return None if index.is_hidden(position) else self.tail.part.rows(np.array([position]))[0]
        return self.snapshot.row(self.account, row_id)
