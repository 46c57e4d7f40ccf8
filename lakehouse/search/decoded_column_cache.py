"""A cache of decoded columns for searches without an index. It pays because an account usually searches several times."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import polars as pl

from lakehouse.search.protocols import Positions, SortedRun

DEFAULT_BYTES = 64 * 2**20

_Key = tuple[frozenset[str], tuple[str, ...], int, int]


class DecodedColumnCache:
    """Holds at most ``max_bytes``; the least recently used slices are dropped. Safe to use from many threads."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[_Key, pl.DataFrame] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def read(self, run: SortedRun, positions: Positions, columns: Sequence[str]) -> pl.DataFrame:
        """``columns`` of the rows at ``positions``, which must ascend.

        Only contiguous rows of files are cached: files never change, so neither do slices of them.
        """
        first, last = int(positions[0]), int(positions[-1])
        if not run.part.files or last - first + 1 != len(positions):
            return run.part.read(positions, columns)
        key = (run.part.files, tuple(columns), first, last)
        with self._lock:
            frame = self._frames.get(key)
            if frame is not None:
                self._frames.move_to_end(key)
                return frame
        frame = run.part.read(positions, columns)
        self._store(key, frame)
        return frame

    def _store(self, key: _Key, frame: pl.DataFrame) -> None:
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._num_bytes += int(frame.estimated_size())
            while self._num_bytes > self._max_bytes:
                _, dropped = self._frames.popitem(last=False)
                self._num_bytes -= int(dropped.estimated_size())
