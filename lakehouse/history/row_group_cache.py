"""A cache of decoded row groups, as a database caches its pages. The newest rows are read most often."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import polars as pl

DEFAULT_BYTES = 128 * 2**20

RowGroup = tuple[str, int]
"""(URI of the file, number of the row group in it). Files never change, so neither does a row group."""


class RowGroupCache:
    """Holds at most ``max_bytes``; the least recently used row groups are dropped. Safe to use from many threads."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._groups: OrderedDict[RowGroup, tuple[pl.DataFrame, int]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Memory of the decoded row groups."""
        return self._num_bytes

    def get(self, group: RowGroup) -> pl.DataFrame | None:
        """The rows of a row group; None if it is not cached."""
        with self._lock:
            found = self._groups.get(group)
            if found is None:
                return None
            self._groups.move_to_end(group)
            return found[0]

    def get_all(
        self, groups: Sequence[RowGroup], load: Callable[[Sequence[RowGroup]], Sequence[pl.DataFrame]]
    ) -> list[pl.DataFrame]:
        """Rows of each of ``groups``. Those not cached are loaded in one call; two threads may load the same one."""
        frames = {group: self.get(group) for group in groups}
        missing = [group for group, frame in frames.items() if frame is None]
        for group, frame in zip(missing, load(missing) if missing else (), strict=True):
            frames[group] = frame
            self._put(group, frame)
        return [frame for frame in frames.values() if frame is not None]

    def _put(self, group: RowGroup, frame: pl.DataFrame) -> None:
        size = int(frame.estimated_size())
        if size > self._max_bytes:
            return
        with self._lock:
            _, known = self._groups.pop(group, (None, 0))
            self._groups[group] = frame, size
            self._num_bytes += size - known
            while self._num_bytes > self._max_bytes:
                _, (_, dropped) = self._groups.popitem(last=False)
                self._num_bytes -= dropped
