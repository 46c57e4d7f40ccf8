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

from lakehouse.blocks import BLOCK_ROWS, Block, BlockCache
from lakehouse.keys import Keys, KeySpec, keys_of

PAGE_ROWS = 256
"""Reads of up to so many rows are pages, and go through the cache; more is a scan, and does not push pages out."""


class Part(Protocol):
    """Rows with keys, immutable."""

    @property
    def keys(self) -> Keys: ...

    @property
    def files(self) -> frozenset[str]:
        """URIs of the files whose rows these are."""
        ...

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows at ``places`` of ``keys``, in that order. Blocks. Raises FileNotFoundError if the file was vacuumed.

        ``columns`` are for scans: only they are read, and no row is kept.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FilePart:
    """A file too large to keep."""

    uri: str
    keys: Keys
    schema: pl.Schema
    cache: BlockCache

    @property
    def files(self) -> frozenset[str]:
        return frozenset((self.uri,))

    @classmethod
    def load(cls, uri: str, spec: KeySpec, schema: pl.Schema, cache: BlockCache) -> FilePart:
        return cls(uri, keys_of(scan(uri, schema).select(spec.columns).collect(), spec), schema, cache)

    def read(self, places: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        rows = places if self.keys.order is None else self.keys.order[places].astype(np.int64)
        if columns is not None:
            return self._many(rows, columns)
        if len(rows) == 1:
            return self._one(int(rows[0]))
        if len(rows) <= PAGE_ROWS:
            return self._page(rows)
        return self._many(rows)

    def _one(self, row: int) -> pl.DataFrame:
        # Single rows are asked for at random: they would only push out what pages come back to.
        block = self.cache.get((self.uri, row // BLOCK_ROWS))
        if block is not None:
            return block.slice(row % BLOCK_ROWS, 1)
        return scan(self.uri, self.schema).slice(row, 1).collect()

    def _page(self, rows: NDArray[np.int64]) -> pl.DataFrame:
        numbers, block_of_row = np.unique(rows // BLOCK_ROWS, return_inverse=True)
        blocks = [(self.uri, number) for number in numbers.tolist()]
        frames = self.cache.get_all(blocks, self._load)
        if len(frames) == 1:
            return frames[0][rows % BLOCK_ROWS]
        # Of each block only the rows wanted are put together, then brought into the order asked for.
        order = np.argsort(block_of_row, kind="stable")
        picked: list[pl.DataFrame] = [
            frame[(rows % BLOCK_ROWS)[block_of_row == number]] for number, frame in enumerate(frames)
        ]
        return pl.concat(picked)[np.argsort(order)]

    def _load(self, blocks: Sequence[Block]) -> list[pl.DataFrame]:
        scans = [scan(self.uri, self.schema).slice(number * BLOCK_ROWS, BLOCK_ROWS) for _, number in blocks]
        return [scans[0].collect()] if len(scans) == 1 else pl.collect_all(scans)

    def _many(self, rows: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        first, last = int(rows.min()), int(rows.max())
        lazy = scan(self.uri, self.schema).slice(first, last - first + 1)
        frame = (lazy if columns is None else lazy.select(columns)).collect()
        return frame if np.array_equal(rows, np.arange(first, last + 1)) else frame[rows - first]


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
        frame = self.frame if columns is None else self.frame.select(columns)
        return frame[places if self.keys.order is None else self.keys.order[places]]


def scan(uri: str | list[str], schema: pl.Schema) -> pl.LazyFrame:
    """Lazy rows of data files; columns that came later than a file are null in it."""
    return pl.scan_parquet(
        uri, schema=schema, use_statistics=False, glob=False, missing_columns="insert", extra_columns="ignore"
    )
