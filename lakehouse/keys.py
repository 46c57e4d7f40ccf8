"""The keys of a table's rows, held in memory: enough to find, count and order rows without reading them.

For each row of a part of a table, in order of (account, id): its id, its time, a code of its status or voice, a hash of its
session. 17 bytes a transcription, less than a tenth of the row's size on disk; rows themselves stay in their files.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

HIDDEN_STATUS = "deleted"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Which columns of a table are keys. ``code``: one that lists are filtered by. ``hashed``: one that rows are found by.

    ``revised``: of several rows with one id only the one of the highest ``revision`` counts, and none that is deleted.
    ``identity``: the columns that name a row.
    """

    table: str
    code: str | None = None
    hashed: str | None = None
    revised: bool = False
    identity: tuple[str, ...] = ("id",)

    @property
    def unique(self) -> bool:
        """Whether an id names one row."""
        return self.identity == ("id",)

    @property
    def columns(self) -> list[str]:
        extra = [self.code, self.hashed, "revision" if self.revised else None]
        return ["account", "id", "created_at", *(name for name in extra if name)]


KEY_SPECS = {
    spec.table: spec
    for spec in (
        KeySpec("transcriptions", code="status", revised=True),
        KeySpec("tts_renders", code="voice"),
        KeySpec("conversations", code="voice", hashed="session_id"),
        KeySpec("turns", hashed="session_id"),
        KeySpec("tool_calls", hashed="session_id"),
        KeySpec("segments", identity=("id", "revision", "position")),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """Keys of ``n`` rows, sorted by (account, id).

    ``ids``, ``created``: ``(n,) int64``, microseconds since 1970 UTC. ``codes``: ``(n,)`` places in ``values``, or empty.
    ``hashes``: ``(n,) uint32``, or empty. ``revisions``: ``(n,) int32``, or None when all are 0.
    ``order``: ``(n,) int32``, the row in the part each key belongs to, or None when rows lie in that order themselves.
    ``hidden``: places of superseded and deleted rows, ascending.
    Rows of ``accounts[i]`` are those from ``starts[i]`` to ``starts[i + 1]``.
    """

    accounts: list[str]
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    created: NDArray[np.int64]
    codes: NDArray[np.unsignedinteger[Any]]
    values: list[str | None]
    hashes: NDArray[np.uint32]
    revisions: NDArray[np.int32] | None
    order: NDArray[np.int32] | None
    hidden: NDArray[np.int64]

    def span(self, account: str) -> tuple[int, int]:
        """Where the rows of ``account`` lie; an empty span if it has none."""
        place = bisect_left(self.accounts, account)
        if place == len(self.accounts) or self.accounts[place] != account:
            return 0, 0
        return int(self.starts[place]), int(self.starts[place + 1])

    def revision(self, place: int) -> int:
        return 0 if self.revisions is None else int(self.revisions[place])

    def is_hidden(self, place: int) -> bool:
        at = int(self.hidden.searchsorted(np.int64(place)))
        return at < len(self.hidden) and int(self.hidden[at]) == place

    @property
    def num_bytes(self) -> int:
        arrays = (self.starts, self.ids, self.created, self.codes, self.hashes, self.revisions, self.order, self.hidden)
        return sum(a.nbytes for a in arrays if a is not None)


def keys_of(frame: pl.DataFrame, spec: KeySpec) -> Keys:
    """The keys of the rows of ``frame``, which has at least ``spec.columns`` and rows in any order."""
    order = None
    if not _is_sorted(frame, spec):
        by = ["account", "id", *(["revision"] if spec.revised else [])]
        frame = frame.with_row_index("row").sort(by, maintain_order=True)
        order = frame["row"].to_numpy().astype(np.int32)
    runs = frame.select(pl.col("account").rle()).unnest("account")
    ids = _fixed(frame["id"])
    codes, values = _codes(frame[spec.code]) if spec.code else (np.empty(0, np.uint8), [])
    return Keys(
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
    """32-bit hashes that hold within this process; equal ones must be checked against the rows."""
    return (column.hash(0).to_numpy() >> np.uint64(32)).astype(np.uint32)


def _is_sorted(frame: pl.DataFrame, spec: KeySpec) -> bool:
    same = frame.select((pl.col("account") == pl.col("account").shift()).fill_null(value=False)).to_series().to_numpy()
    steps = np.diff(frame["id"].to_numpy(), prepend=0)
    rising = steps > 0 if spec.unique else steps >= 0
    return bool(np.all(rising | ~same)) and bool(frame.filter(pl.Series(~same))["account"].is_sorted())


def _fixed(column: pl.Series) -> NDArray[np.int64]:
    """A copy that holds no larger buffer alive."""
    return np.array(column.to_numpy(), np.int64)


def _codes(column: pl.Series) -> tuple[NDArray[np.unsignedinteger[Any]], list[str | None]]:
    values = column.unique(maintain_order=True).to_list()
    kind = np.min_scalar_type(len(values))
    categories = pl.Series([v for v in values if v is not None], dtype=pl.String)
    places = column.cast(pl.Enum(categories)).to_physical().cast(pl.UInt32).fill_null(len(categories))
    return places.to_numpy().astype(kind), [*categories.to_list(), None]


def _revisions(frame: pl.DataFrame) -> NDArray[np.int32] | None:
    revisions = frame["revision"].to_numpy().astype(np.int32)
    return revisions if revisions.any() else None


def _hidden(frame: pl.DataFrame, spec: KeySpec, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that a later row of the same account and id supersedes, and deleted ones."""
    if not spec.unique:
        return np.empty(0, np.int64)
    gone = np.zeros(len(ids), bool)
    twins = np.flatnonzero(ids[:-1] == ids[1:])
    if len(twins):
        accounts = frame["account"]
        gone[twins] = (accounts[twins.tolist()] == accounts[(twins + 1).tolist()]).to_numpy()
    if spec.revised:
        gone |= (frame["status"] == HIDDEN_STATUS).to_numpy()
    return np.flatnonzero(gone)
