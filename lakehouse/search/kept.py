"""Columns of lexemes that were searched of late, kept decoded: an account that searches once searches again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import polars as pl

from lakehouse.search.rows import Places, Run

DEFAULT_BYTES = 64 * 2**20

_Key = tuple[frozenset[str], tuple[str, ...], int, int]


class Kept:
    """At most ``max_bytes`` of slices of files; those not asked for longest go first. Safe from many threads."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[_Key, pl.DataFrame] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def read(self, run: Run, places: Places, columns: Sequence[str]) -> pl.DataFrame:
        """``columns`` of the rows at ``places``, which ascend. Files never change, so neither do their stretches."""
        first, last = int(places[0]), int(places[-1])
        if not run.part.files or last - first + 1 != len(places):
            return run.part.read(places, columns)
        key = (run.part.files, tuple(columns), first, last)
        with self._lock:
            frame = self._frames.get(key)
            if frame is not None:
                self._frames.move_to_end(key)
                return frame
        frame = run.part.read(places, columns)
        self._keep(key, frame)
        return frame

    def _keep(self, key: _Key, frame: pl.DataFrame) -> None:
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._num_bytes += int(frame.estimated_size())
            while self._num_bytes > self._max_bytes:
                _, dropped = self._frames.popitem(last=False)
                self._num_bytes -= int(dropped.estimated_size())
