"""Parts of a table: files on disk or rows in memory, each with its index.

A large file stays on disk. Small files, as commits write them, are read once and held as one frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_blocks import BUILD_ROWS, FileRows, Row
from lakehouse.history.row_group_cache import RowGroup, RowGroupCache
from lakehouse.history.row_index import RowIndex, index_rows
from lakehouse.tables.file_replacement import ROW_GROUP_ROWS
from lakehouse.tables.index_specs import IndexSpec

PAGE_ROWS = 256
"""Reads of at most this many rows are pages, which use the cache. Larger reads are scans, which must not displace pages
from the cache.
"""


class TablePart(Protocol):
    """Rows with their index, immutable."""

    @property
    def index(self) -> RowIndex:
        """The index of the rows."""
        ...

    @property
    def files(self) -> frozenset[str]:
        """URIs of the files that the rows are from; empty for rows that are in no file yet."""
        ...

    @property
    def uri(self) -> str | None:
        """URI of the file, if the rows stay in one; None if they are in memory."""
        ...

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """Rows at ``positions`` without ``lexemes``, in that order. Blocks. Raises FileNotFoundError as `read`."""
        ...

    def read(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows at ``positions`` in the index, in that order. Blocks. Raises FileNotFoundError if the file was vacuumed.

        With ``columns`` only these are read, without the cache; this is for scans.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FilePart:
    """A file that stays on disk."""

    uri: str
    index: RowIndex
    schema: pl.Schema
    cache: RowGroupCache
    blocks: FileRows | None = None

    @property
    def files(self) -> frozenset[str]:
        """See `TablePart.files`."""
        return frozenset((self.uri,))

    @classmethod
    def load(
        cls, uri: str, spec: IndexSpec, schema: pl.Schema, cache: RowGroupCache, indexes: IndexFiles | None
    ) -> FilePart:
        """The file with its index: that of ``indexes``, or else by reading the columns that it needs. Blocks."""

        def build() -> RowIndex:
            return index_rows(scan(uri, schema).select(spec.columns).collect(), spec)

        index = indexes.index_of(uri, build) if indexes else build()
        count = len(index.ids)

        def frames() -> Iterator[pl.DataFrame]:
            for start in range(0, count, BUILD_ROWS):
                yield scan(uri, schema).slice(start, BUILD_ROWS).collect().drop("lexemes", strict=False)

        return cls(uri, index, schema, cache, indexes.rows_of(uri, frames) if indexes else None)

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """See `TablePart.rows`."""
        found = self.blocks.few(self._file_rows(positions)) if self.blocks else None
        return without_lexemes(self.read(positions)) if found is None else found

    def read(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """See `TablePart.read`."""
        rows = self._file_rows(positions)
        if columns is not None:
            return self._many(rows, columns)
        if len(rows) == 1:
            return self._one(int(rows[0]))
        if len(rows) <= PAGE_ROWS:
            return self._page(rows)
        return self._many(rows)

    def _file_rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return positions if self.index.order is None else self.index.order[positions].astype(np.int64)

    def _one(self, row: int) -> pl.DataFrame:
        # Single rows are read at random, so caching their row groups would displace those of pages.
        group = self.cache.get((self.uri, row // ROW_GROUP_ROWS))
        if group is not None:
            return group.slice(row % ROW_GROUP_ROWS, 1)
        return scan(self.uri, self.schema).slice(row, 1).collect()

    def _page(self, rows: NDArray[np.int64]) -> pl.DataFrame:
        numbers, group_of_row = np.unique(rows // ROW_GROUP_ROWS, return_inverse=True)
        groups = [(self.uri, number) for number in numbers.tolist()]
        frames = self.cache.get_all(groups, self._load)
        if len(frames) == 1:
            return frames[0][rows % ROW_GROUP_ROWS]
        # Only the requested rows of each row group are concatenated, then put into the requested order.
        order = np.argsort(group_of_row, kind="stable")
        picked: list[pl.DataFrame] = [
            frame[(rows % ROW_GROUP_ROWS)[group_of_row == number]] for number, frame in enumerate(frames)
        ]
        return pl.concat(picked)[np.argsort(order)]

    def _load(self, groups: Sequence[RowGroup]) -> list[pl.DataFrame]:
        scans = [scan(self.uri, self.schema).slice(number * ROW_GROUP_ROWS, ROW_GROUP_ROWS) for _, number in groups]
        return [scans[0].collect()] if len(scans) == 1 else pl.collect_all(scans)

    def _many(self, rows: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        first, last = int(rows.min()), int(rows.max())
        lazy = scan(self.uri, self.schema).slice(first, last - first + 1)
        frame = (lazy if columns is None else lazy.select(columns)).collect()
        return frame if np.array_equal(rows, np.arange(first, last + 1)) else frame[rows - first]


@dataclass(frozen=True, slots=True, eq=False)
class FramePart:
    """Rows of small files, held in memory."""

    files: frozenset[str]
    frame: pl.DataFrame
    index: RowIndex
    uri: None = None

    @classmethod
    def of(cls, files: frozenset[str], frame: pl.DataFrame, spec: IndexSpec) -> FramePart:
        """Index the rows of ``frame``, which are from ``files``."""
        return cls(files, frame, index_rows(frame, spec))

    def rows(self, positions: NDArray[np.int64]) -> list[Row]:
        """See `TablePart.rows`."""
        return without_lexemes(self.read(positions))

    def read(self, positions: NDArray[np.int64], columns: Sequence[str] | None = None) -> pl.DataFrame:
        """See `TablePart.read`."""
        frame = self.frame if columns is None else self.frame.select(columns)
        return frame[positions if self.index.order is None else self.index.order[positions]]


def without_lexemes(frame: pl.DataFrame) -> list[Row]:
    """The rows of ``frame`` as dicts. ``lexemes`` are for search only."""
    return frame.drop("lexemes", strict=False).to_dicts()


def scan(uri: str | list[str], schema: pl.Schema) -> pl.LazyFrame:
    """Lazy rows of data files; columns that were added after a file was written are null in it."""
    return pl.scan_parquet(
        uri, schema=schema, use_statistics=False, glob=False, missing_columns="insert", extra_columns="ignore"
    )
