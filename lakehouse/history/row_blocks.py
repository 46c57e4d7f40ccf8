"""The rows of a data file, a few in each block, so that one row costs one small block instead of a row group of 4,096.

A block is lines of JSON, one a row, compressed by zstd. All blocks together are about as large as the Parquet file. They
are made when a single row of the file is first asked for. A block that is not what was written is noticed by its checksum:
the blocks of its file are made again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import itertools
import json
import logging
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.storage.array_file import Record
from lakehouse.storage.derived_files import DerivedFiles, Form
from schemas.domain import Seconds

Row = dict[str, Any]

ROWS: Final = 32
"""Rows of a block."""
MAX_BLOCKS: Final = 32
"""Rows in more blocks are read from Parquet, by way of the cache of row groups. A page of 20 rows reads at most 20."""
BUILD_ROWS: Final = 512 * ROWS
"""Rows that are read at once to make blocks of."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEWLINE: Final = ord("\n")
_ARRAYS: Final = ("data", "ends", "sizes", "sums")

log = logging.getLogger(__name__)


class Damaged(Exception):
    """A block is not what was written."""


class RowBlocks:
    """Rows by number, from 0. Arrays may be mapped."""

    def __init__(
        self,
        times: list[str],
        data: NDArray[np.uint8],
        ends: NDArray[np.int64],
        sizes: NDArray[np.int64],
        sums: NDArray[np.uint32],
    ) -> None:
        """``times``: columns of times, UTC. Block ``i`` is ``data[ends[i]:ends[i + 1]]``, has ``sizes[i]`` bytes when it is
        decompressed, and the checksum ``sums[i]``.
        """
        self.times = times
        self.data = data
        self.ends = ends
        self.sizes = sizes
        self.sums = sums

    @classmethod
    def of(cls, frames: Iterator[pl.DataFrame]) -> RowBlocks:
        """The rows of ``frames``, each of which, except the last, has a multiple of `ROWS`."""
        times: list[str] = []
        blocks: list[bytes] = []
        sizes: list[int] = []
        for frame in frames:
            times = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
            lines = io.BytesIO()
            frame.with_columns(pl.col(times).to_physical()).write_ndjson(lines)
            for block in _blocks(lines.getbuffer()):
                blocks.append(_codec().compress(block, asbytes=True))
                sizes.append(len(block))
        ends = np.cumsum([0, *map(len, blocks)], dtype=np.int64)
        sums = np.array([_checksum(block, size) for block, size in zip(blocks, sizes, strict=True)], np.uint32)
        return cls(times, np.frombuffer(b"".join(blocks), np.uint8), ends, np.array(sizes, np.int64), sums)

    def rows(self, numbers: NDArray[np.int64]) -> list[Row]:
        """The rows of ``numbers``, in that order. Each block is decompressed once. Raises Damaged."""
        lines = {block: self._lines(block) for block in set((numbers // ROWS).tolist())}
        return [self._row(lines[number // ROWS][number % ROWS]) for number in numbers.tolist()]

    def _lines(self, block: int) -> list[bytes]:
        content = self.data[self.ends[block] : self.ends[block + 1]]
        size = int(self.sizes[block])
        if _checksum(content.data, size) != self.sums[block]:
            raise Damaged(f"block {block} is not what was written")
        lines: list[bytes] = _codec().decompress(content, size, asbytes=True).split(b"\n")
        return lines

    def _row(self, line: bytes) -> Row:
        row: Row = orjson.loads(line)
        for name in self.times:
            if row[name] is not None:
                row[name] = _EPOCH + dt.timedelta(microseconds=row[name])
        return row


class FileRows:
    """The blocks of one data file. Those that are there already are opened at once, so that no read waits for it."""

    def __init__(self, files: RowBlockFiles, uri: str, frames: Callable[[], Iterator[pl.DataFrame]]) -> None:
        """``frames``: reads the rows of the file, as `RowBlocks.of` takes them."""
        self._files = files
        self._uri = uri
        self._frames = frames
        self._blocks = files.stored(uri)

    def few(self, numbers: NDArray[np.int64]) -> list[Row] | None:
        """The rows of ``numbers``, in that order; None if they are in too many blocks, or while these are not made."""
        if len(np.unique(numbers // ROWS)) > MAX_BLOCKS:
            return None
        if self._blocks is None:
            self._blocks = self._files.of(self._uri, self._frames)
        if self._blocks is None:
            return None
        try:
            return self._blocks.rows(numbers)
        except Damaged:
            log.exception("row blocks of %s are damaged; they are made again", self._uri)
            self._blocks = None
            self._files.remove(self._uri)
            return None


class RowBlockFiles:
    """The blocks of one table's data files, as files that the processes of a machine share. Made on a thread."""

    def __init__(self, files: DerivedFiles, columns: Sequence[str]) -> None:
        """``columns`` of the table, which are part of the files' version."""
        self._files = files
        self._form = Form(f"row blocks 2 {json.dumps(list(columns))}", ".items", _pack, _unpack)
        self._pending: set[str] = set()
        self._lock = threading.Lock()
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="row-blocks")
        self._is_closed = False

    def stored(self, uri: str) -> RowBlocks | None:
        """The blocks of a data file; None while they are not made."""
        found = self._files.open(uri, self._form)
        return None if found is None else found[0]

    def of(self, uri: str, frames: Callable[[], Iterator[pl.DataFrame]]) -> RowBlocks | None:
        """The blocks of a data file; None while they are not made, which is then started with the rows of ``frames``."""
        found = self.stored(uri)
        if found is not None:
            return found
        with self._lock:
            if uri not in self._pending and not self._is_closed:
                self._pending.add(uri)
                self._builder.submit(self._make, uri, frames)
        return None

    def remove(self, uri: str) -> None:
        """Remove the blocks of a data file, so that they are made again."""
        with contextlib.suppress(OSError):
            self._files.remove(uri, self._form)

    def wait(self, most_secs: Seconds | None = None) -> None:
        """Wait until nothing is being made. Blocks. Raises TimeoutError after ``most_secs``."""
        self._builder.submit(lambda: None).result(most_secs)

    def close(self) -> None:
        """Make no more blocks: a process does not end before its threads, and waits for the present file only."""
        with self._lock:
            self._is_closed = True
        self._builder.shutdown(wait=False, cancel_futures=True)

    def _make(self, uri: str, frames: Callable[[], Iterator[pl.DataFrame]]) -> None:
        try:
            self._files.load(uri, self._form, lambda: [RowBlocks.of(frames())])
        except Exception:
            # Rows are read from the data file as before, and the attempt is not repeated: it would fail again.
            log.exception("row blocks of %s cannot be made", uri)
            return
        with self._lock:
            self._pending.discard(uri)


def _pack(blocks: RowBlocks) -> Record:
    return Record({"times": blocks.times}, {name: getattr(blocks, name) for name in _ARRAYS})


def _unpack(record: Record) -> RowBlocks:
    return RowBlocks(record.values["times"], **record.arrays)


def _blocks(lines: memoryview) -> Iterator[memoryview]:
    """``lines`` in pieces of `ROWS` lines."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE) + 1
    bounds = [0, *ends[ROWS - 1 :: ROWS].tolist()]
    if bounds[-1] < len(lines):
        bounds.append(len(lines))
    for start, end in itertools.pairwise(bounds):
        yield lines[start:end]


def _checksum(block: bytes | memoryview, size: int) -> int:
    """Of a compressed block and its size when it is decompressed."""
    return zlib.crc32(block, size & 0xFFFFFFFF)


def _codec() -> pa.Codec:
    # One for each call: pyarrow does not say whether one may be used from several threads.
    return pa.Codec("zstd", compression_level=1)
