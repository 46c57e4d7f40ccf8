"""Rows acknowledged since a snapshot was opened, laid over it.

The tail of an account is immutable, so that a read in a thread keeps the one it began with; new rows make a new tail.
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

from lakehouse.keys import HIDDEN_STATUS, Keys, KeySpec, hashes
from lakehouse.runs import Run
from lakehouse.snapshot import Row, Snapshot

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def microseconds(moment: dt.datetime) -> int:
    """Since 1970 UTC, as the tables count."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class RowsPart:
    """Rows as the ledger told them, sorted by id; a `Part` without files."""

    rows: Sequence[Row]
    spec: KeySpec
    schema: pl.Schema
    files: frozenset[str] = frozenset()

    @cached_property
    def keys(self) -> Keys:
        spec, rows = self.spec, self.rows
        values: dict[str | None, int] = {}
        codes = [values.setdefault(row.get(spec.code), len(values)) for row in rows] if spec.code else []
        gone = [i for i, row in enumerate(rows) if spec.revised and row["status"] == HIDDEN_STATUS]
        sessions = pl.Series([row[spec.hashed] for row in rows] if spec.hashed else [], dtype=pl.String)
        return Keys(
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

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        names = self.schema.names() if columns is None else columns
        rows = [self.rows[place] for place in places.tolist()]
        # One series a column: Polars takes a list of a known type faster than rows of dicts.
        return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], self.schema[name]) for name in names])


@dataclass(frozen=True, eq=False)
class AccountTail:
    """One account's rows by identity, the last state of each."""

    rows: Mapping[Any, Row]
    spec: KeySpec
    schema: pl.Schema

    @cached_property
    def part(self) -> RowsPart:
        return RowsPart(sorted(self.rows.values(), key=lambda row: row["id"]), self.spec, self.schema)

    @cached_property
    def run(self) -> Run:
        return Run.of(self.part, 0, len(self.rows))

    def over(self, runs: Iterable[Run]) -> tuple[Run, ...]:
        """``runs`` of a snapshot without the rows that are newer here, and the rows here."""
        below = [run.without(self.part.keys.ids) for run in runs] if self.spec.unique else list(runs)
        return tuple(run for run in (*below, self.run) if len(run))


@dataclass(eq=False)
class Tail:
    """The tails of all accounts of a table; changed on one event loop only."""

    spec: KeySpec
    schema: pl.Schema
    num_rows: int = 0
    _accounts: dict[str, AccountTail] = field(default_factory=dict)

    def of(self, account: str) -> AccountTail | None:
        return self._accounts.get(account)

    def add(self, rows: Iterable[Row]) -> None:
        """Lay ``rows`` over what is here; of one row's states the last counts."""
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
    """One account's rows of one table at one moment. Methods block; call them on a thread."""

    account: str
    snapshot: Snapshot
    tail: AccountTail | None

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        runs = self.snapshot.runs(self.account)
        return runs if self.tail is None else self.tail.over(runs)

    def row(self, row_id: int) -> Row | None:
        """The row with this id; None if there is none or it is deleted."""
        if self.tail is not None:
            keys = self.tail.part.keys
            place = int(keys.ids.searchsorted(np.int64(row_id)))
            if place < len(keys.ids) and keys.ids[place] == row_id:
                return None if keys.is_hidden(place) else self.tail.part.read(np.array([place])).to_dicts()[0]
        return self.snapshot.row(self.account, row_id)
