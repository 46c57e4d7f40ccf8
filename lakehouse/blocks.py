"""Decoded blocks of files that were read of late, as a database keeps its pages: the newest are asked for most."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import polars as pl

BLOCK_ROWS = 4096
"""Rows of a block, and of a row group as all our files are written: a block is decoded without touching its neighbours."""
DEFAULT_BYTES = 128 * 2**20

Block = tuple[str, int]
"""(URI of the file, number of the block in it). Files never change, so a block never does."""


class BlockCache:
    """At most ``max_bytes`` of blocks; those not asked for longest go first. Safe from many threads."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[Block, tuple[pl.DataFrame, int]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        return self._num_bytes

    def get(self, block: Block) -> pl.DataFrame | None:
        with self._lock:
            found = self._blocks.get(block)
            if found is None:
                return None
            self._blocks.move_to_end(block)
            return found[0]

    def get_all(
        self, blocks: Sequence[Block], load: Callable[[Sequence[Block]], Sequence[pl.DataFrame]]
    ) -> list[pl.DataFrame]:
        """Each of ``blocks``; those not at hand are loaded in one call. Two threads may load the same one."""
        frames = {block: self.get(block) for block in blocks}
        missing = [block for block, frame in frames.items() if frame is None]
        for block, frame in zip(missing, load(missing) if missing else (), strict=True):
            frames[block] = frame
            self._put(block, frame)
        return [frame for frame in frames.values() if frame is not None]

    def _put(self, block: Block, frame: pl.DataFrame) -> None:
        size = int(frame.estimated_size())
        if size > self._max_bytes:
            return
        with self._lock:
            _, known = self._blocks.pop(block, (None, 0))
            self._blocks[block] = frame, size
            self._num_bytes += size - known
            while self._num_bytes > self._max_bytes:
                _, (_, dropped) = self._blocks.popitem(last=False)
                self._num_bytes -= dropped
