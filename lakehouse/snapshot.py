"""A table at one version, as readers hold it: immutable, and swapped for the next by one reference.

Large files stay on disk behind their keys; small ones, as commits leave them, are kept in memory. A snapshot made from an
earlier one loads only the files that are new. Nothing of Delta is held: a handle is opened, asked for its files and
dropped, so no scan ever shares one with a writer.

Maintenance sorts files by (account, id); any other order is read as well, only slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from deltalake import DeltaTable
from numpy.typing import NDArray

from lakehouse.blocks import BlockCache
from lakehouse.keys import KEY_SPECS, KeySpec
from lakehouse.parts import FilePart, FramePart, Part, scan
from lakehouse.runs import Run
from schemas.tables import table

Row = dict[str, Any]

SMALL_FILE_ROWS = 16_384
"""Files with fewer rows are kept in memory, rows and all."""
KEPT_ACCOUNTS = 4096
"""Accounts whose runs a snapshot remembers; then it forgets all and begins again."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """``parts`` in the order their files were written, as far as Delta tells."""

    spec: KeySpec
    schema: pl.Schema
    version: int
    parts: tuple[Part, ...]
    _runs: dict[str, tuple[Run, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, uri: str, name: str, cache: BlockCache, previous: Snapshot | None = None) -> Snapshot:
        """The newest version. Blocks for some ms, plus 50 ms for each million rows not in ``previous``."""
        handle = DeltaTable(uri)
        spec, schema = KEY_SPECS[name], pl.Schema(table(name).schema)
        actions = pl.DataFrame(handle.get_add_actions(flatten=True))
        paths, rows = actions["path"].to_list(), actions["num_records"].fill_null(SMALL_FILE_ROWS).to_list()
        counts = {f"{uri}/{path}": count for path, count in zip(paths, rows, strict=True)}
        kept = [part for part in previous.parts if all(file in counts for file in part.files)] if previous else []
        known = {file for part in kept for file in part.files}
        small = sorted(file for file, count in counts.items() if count < SMALL_FILE_ROWS and file not in known)
        large = [file for file, count in counts.items() if count >= SMALL_FILE_ROWS and file not in known]
        parts = [*kept, *(FilePart.load(file, spec, schema, cache) for file in large)]
        if small:
            parts = _stack(parts, FramePart.of(frozenset(small), scan(small, schema).collect(), spec), spec)
        return cls(spec, schema, handle.version(), tuple(parts))

    @property
    def num_rows(self) -> int:
        return sum(len(part.keys.ids) for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """Memory of keys and of rows kept."""
        frames = sum(part.frame.estimated_size() for part in self.parts if isinstance(part, FramePart))
        return int(frames) + sum(part.keys.num_bytes for part in self.parts)

    def runs(self, account: str) -> tuple[Run, ...]:
        """The account's rows that count, one run for each part that has some."""
        runs = self._runs.get(account)
        if runs is None:
            if len(self._runs) >= KEPT_ACCOUNTS:
                self._runs.clear()
            runs = self._runs[account] = tuple(self._find_runs(account))
        return runs

    def place(self, account: str, row_id: int) -> tuple[Part, int] | None:
        """Where the row that counts lies; None if there is none or it is deleted."""
        best: tuple[int, Part, int] | None = None
        for part in self.parts:
            low, high = part.keys.span(account)
            place = low + int(part.keys.ids[low:high].searchsorted(np.int64(row_id), "right")) - 1
            if place >= low and part.keys.ids[place] == row_id:
                revision = part.keys.revision(place)
                if best is None or revision >= best[0]:
                    best = revision, part, place
        return None if best is None or best[1].keys.is_hidden(best[2]) else best[1:]

    def row(self, account: str, row_id: int) -> Row | None:
        """The row that counts, by reading one row group. Blocks."""
        found = self.place(account, row_id)
        return found[0].read(np.array([found[1]])).to_dicts()[0] if found else None

    def _find_runs(self, account: str) -> list[Run]:
        spans = [(part, *part.keys.span(account)) for part in self.parts]
        spans = [span for span in spans if span[1] < span[2]]
        hidden = _superseded(spans) if self.spec.unique and len(spans) > 1 else [np.empty(0, np.int64)] * len(spans)
        runs = [Run.of(part, low, high, gone) for (part, low, high), gone in zip(spans, hidden, strict=True)]
        return [run for run in runs if len(run)]


def _superseded(spans: Sequence[tuple[Part, int, int]]) -> list[NDArray[np.int64]]:
    """For each span, places of rows whose id has a higher revision in another span, or the same in a later one."""
    hidden: list[set[int]] = [set() for _ in spans]
    for older in range(len(spans)):
        for newer in range(older + 1, len(spans)):
            for place, other in _twins(spans[older], spans[newer]):
                wins = spans[newer][0].keys.revision(other) >= spans[older][0].keys.revision(place)
                hidden[older if wins else newer].add(place if wins else other)
    return [np.array(sorted(places), np.int64) for places in hidden]


def _twins(one: tuple[Part, int, int], two: tuple[Part, int, int]) -> list[tuple[int, int]]:
    """Places, in each part, of the last row of every id that both spans have. Only where their ids overlap is looked at."""
    ids = [part.keys.ids[low:high] for part, low, high in (one, two)]
    first, last = max(ids[0][0], ids[1][0]), min(ids[0][-1], ids[1][-1])
    if first > last:
        return []
    near = [some[some.searchsorted(first) : some.searchsorted(last, "right")] for some in ids]
    common = np.intersect1d(near[0], near[1])
    places = [low + some.searchsorted(common, "right") - 1 for some, (_, low, _) in zip(ids, (one, two), strict=True)]
    return list(zip(places[0].tolist(), places[1].tolist(), strict=True))


def _stack(parts: Sequence[Part], new: FramePart, spec: KeySpec) -> list[Part]:
    """``parts`` and ``new``, which takes in the frames before it that are not much larger: so frames stay few."""
    stacked = list(parts)
    while stacked and isinstance(last := stacked[-1], FramePart) and last.frame.height <= 2 * new.frame.height:
        stacked.pop()
        new = FramePart.of(last.files | new.files, pl.concat([last.frame, new.frame]), spec)
    return [*stacked, new]
