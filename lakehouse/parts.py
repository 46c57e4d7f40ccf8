"""Parts of a table: what its files hold, as keys in memory and rows that are read when asked for.

A large file keeps its rows on disk. Small files, as commits leave them, are read once and kept as one frame in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.keys import Keys, KeySpec, keys_of

HULL_GAP_ROWS = 8192
"""Rows further apart are read apart: opening a file again costs about as much as decoding two row groups of 4,096."""


class Part(Protocol):
    """Rows with keys, immutable."""

    @property
    def keys(self) -> Keys: ...

    @property
    def files(self) -> frozenset[str]:
        """URIs of the files whose rows these are."""
        ...

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows at ``places`` of ``keys``, in that order. Blocks. Raises FileNotFoundError if the file was vacuumed."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FilePart:
    """A file too large to keep."""

    uri: str
    keys: Keys
    schema: pl.Schema

    @property
    def files(self) -> frozenset[str]:
        return frozenset((self.uri,))

    @classmethod
    def load(cls, uri: str, spec: KeySpec, schema: pl.Schema) -> FilePart:
        return cls(uri, keys_of(scan(uri, schema).select(spec.columns).collect(), spec), schema)

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        rows = places if self.keys.order is None else self.keys.order[places].astype(np.int64)
        rising = np.sort(rows)
        cuts = np.flatnonzero(np.diff(rising) > HULL_GAP_ROWS) + 1
        hulls = [(int(h[0]), int(h[-1])) for h in np.split(rising, cuts) if len(h)]
        scans = [scan(self.uri, self.schema).slice(first, last - first + 1) for first, last in hulls]
        if columns is not None:
            scans = [lazy.select(columns) for lazy in scans]
        frame = pl.concat(pl.collect_all(scans), rechunk=False) if len(scans) > 1 else scans[0].collect()
        firsts = np.array([first for first, _ in hulls])
        lengths = np.array([last - first + 1 for first, last in hulls])
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        hull = np.searchsorted(firsts, rows, "right") - 1
        wanted = rows - firsts[hull] + offsets[hull]
        return frame if np.array_equal(wanted, np.arange(frame.height)) else frame[wanted]


@dataclass(frozen=True, slots=True, eq=False)
class FramePart:
    """Rows of small files, in memory."""

    files: frozenset[str]
    frame: pl.DataFrame
    keys: Keys

    @classmethod
    def of(cls, files: frozenset[str], frame: pl.DataFrame, spec: KeySpec) -> FramePart:
        return cls(files, frame, keys_of(frame, spec))

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        rows = places if self.keys.order is None else self.keys.order[places]
        return (self.frame if columns is None else self.frame.select(columns))[rows]


def scan(uri: str | list[str], schema: pl.Schema) -> pl.LazyFrame:
    """Lazy rows of data files; columns that came later than a file are null in it."""
    return pl.scan_parquet(
        uri, schema=schema, use_statistics=False, glob=False, missing_columns="insert", extra_columns="ignore"
    )
