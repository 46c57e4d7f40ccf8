"""One version of a table, as readers hold it. A snapshot is immutable, and replaced by assigning one reference.

Large files stay on disk, with their index in memory or in a mapped file. Small files, as commits write them, are held in
memory. A snapshot opened from an earlier one loads only new files. A Delta handle is opened, asked for its files and
dropped, so no scan shares one with a writer. Maintenance sorts files by (account, id); files in another order are read as
well, more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_group_cache import RowGroupCache
from lakehouse.history.sorted_rows import SortedRows
from lakehouse.history.table_parts import FilePart, FramePart, TablePart, scan
from lakehouse.tables.index_specs import INDEX_SPECS, IndexSpec
from lakehouse.tables.open_table import open_table
from schemas.tables import table

Row = dict[str, Any]

SMALL_FILE_ROWS = 16_384
"""Files with fewer rows are held in memory completely."""
MAX_CACHED_ACCOUNTS = 4096
"""Accounts whose sorted rows a snapshot caches; when there are more, the cache is emptied."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """``parts`` are in the order in which their files were written, as far as Delta's log tells."""

    spec: IndexSpec
    schema: pl.Schema
    version: int
    parts: tuple[TablePart, ...]
    _runs: dict[str, tuple[SortedRows, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(
        cls,
        uri: str,
        name: str,
        cache: RowGroupCache,
        previous: Snapshot | None = None,
        indexes: IndexFiles | None = None,
    ) -> Snapshot:
        """The newest version of the table ``name`` at ``uri``, with the parts it shares with ``previous``.

        Blocks for some milliseconds, and 50 ms for each million rows that are neither in ``previous`` nor in ``indexes``.
        """
        handle = open_table(uri)
        spec, schema = INDEX_SPECS[name], pl.Schema(table(name).schema)
        actions = pl.DataFrame(handle.get_add_actions(flatten=True))
        paths, rows = actions["path"].to_list(), actions["num_records"].fill_null(SMALL_FILE_ROWS).to_list()
        counts = {f"{uri}/{path}": count for path, count in zip(paths, rows, strict=True)}
        shared = [part for part in previous.parts if all(file in counts for file in part.files)] if previous else []
        known = {file for part in shared for file in part.files}
        small = sorted(file for file, count in counts.items() if count < SMALL_FILE_ROWS and file not in known)
        large = [file for file, count in counts.items() if count >= SMALL_FILE_ROWS and file not in known]
        parts = [*shared, *(FilePart.load(file, spec, schema, cache, indexes) for file in large)]
        if indexes:
            indexes.keep(counts)
        if small:
            parts = _stack(parts, FramePart.of(frozenset(small), scan(small, schema).collect(), spec), spec)
        return cls(spec, schema, handle.version(), tuple(parts))

    @property
    def num_rows(self) -> int:
        """All rows, superseded and deleted ones too."""
        return sum(len(part.index.ids) for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """Memory of indexes and of rows held."""
        frames = sum(part.frame.estimated_size() for part in self.parts if isinstance(part, FramePart))
        return int(frames) + sum(part.index.num_bytes for part in self.parts)

    def runs(self, account: str) -> tuple[SortedRows, ...]:
        """The account's visible rows: neither superseded nor deleted. One run for each part that has some."""
        runs = self._runs.get(account)
        if runs is None:
            if len(self._runs) >= MAX_CACHED_ACCOUNTS:
                self._runs.clear()
            runs = self._runs[account] = tuple(self._find_runs(account))
        return runs

    def locate(self, account: str, row_id: int) -> tuple[TablePart, int] | None:
        """(part, position) of the newest revision of a row; None if there is none or it was deleted."""
        best: tuple[int, TablePart, int] | None = None
        for part in self.parts:
            low, high = part.index.span(account)
            position = low + int(part.index.ids[low:high].searchsorted(np.int64(row_id), "right")) - 1
            if position >= low and part.index.ids[position] == row_id:
                revision = part.index.revision(position)
                if best is None or revision >= best[0]:
                    best = revision, part, position
        return None if best is None or best[1].index.is_hidden(best[2]) else best[1:]

    def row(self, account: str, row_id: int) -> Row | None:
        """The newest revision of a row without ``lexemes``; None as in `locate`. Blocks."""
        found = self.locate(account, row_id)
        return found[0].rows(np.array([found[1]]))[0] if found else None

    def _find_runs(self, account: str) -> list[SortedRows]:
        spans = [(part, *part.index.span(account)) for part in self.parts]
        spans = [span for span in spans if span[1] < span[2]]
        hidden = _superseded(spans) if self.spec.unique and len(spans) > 1 else [np.empty(0, np.int64)] * len(spans)
        runs = [SortedRows.of(part, low, high, gone) for (part, low, high), gone in zip(spans, hidden, strict=True)]
        return [run for run in runs if len(run)]


def _superseded(spans: Sequence[tuple[TablePart, int, int]]) -> list[NDArray[np.int64]]:
    """For each span, positions of rows whose id has a higher revision in another span, or the same in a later one."""
    hidden: list[set[int]] = [set() for _ in spans]
    for older in range(len(spans)):
        for newer in range(older + 1, len(spans)):
            for position, other in _twins(spans[older], spans[newer]):
                wins = spans[newer][0].index.revision(other) >= spans[older][0].index.revision(position)
                hidden[older if wins else newer].add(position if wins else other)
    return [np.array(sorted(positions), np.int64) for positions in hidden]


def _twins(one: tuple[TablePart, int, int], two: tuple[TablePart, int, int]) -> list[tuple[int, int]]:
    """Positions, in each part, of the last row of every id that both spans have."""
    ids = [part.index.ids[low:high] for part, low, high in (one, two)]
    first, last = max(ids[0][0], ids[1][0]), min(ids[0][-1], ids[1][-1])
    if first > last:
        return []
    near = [some[some.searchsorted(first) : some.searchsorted(last, "right")] for some in ids]
    common = np.intersect1d(near[0], near[1])
    positions = [low + some.searchsorted(common, "right") - 1 for some, (_, low, _) in zip(ids, (one, two), strict=True)]
    return list(zip(positions[0].tolist(), positions[1].tolist(), strict=True))


def _stack(parts: Sequence[TablePart], new: FramePart, spec: IndexSpec) -> list[TablePart]:
    """``parts`` and ``new``. Frames at most twice as large as ``new`` are merged into it, so frames stay few."""
    stacked = list(parts)
    while stacked and isinstance(last := stacked[-1], FramePart) and last.frame.height <= 2 * new.frame.height:
        stacked.pop()
        new = FramePart.of(last.files | new.files, pl.concat([last.frame, new.frame]), spec)
    return [*stacked, new]
