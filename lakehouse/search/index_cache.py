"""The search indexes of a process. An index is built after the first query that could have used it.

That of a file is itself a file, which the processes of a machine share. That of rows in memory stays in memory.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.search.index_builder import build
from lakehouse.search.part_index import PartIndex
from lakehouse.search.postings import SEARCH_INDEX, Postings
from lakehouse.search.protocols import IndexMaker, RowPart
from lakehouse.search.shown_rows import SHOWN
from lakehouse.storage.derived_files import DerivedFiles

log = logging.getLogger(__name__)

DEFAULT_BYTES = 64 * 2**20
"""Memory for all indexes of a process that are in no file. A part whose index alone needs more is searched without one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """``alive`` refers to the part. ``index`` is None if it would be too large."""

    alive: weakref.ref[Any]
    index: PartIndex | None
    num_bytes: int


class IndexCache:
    """Indexes by part. Holds at most ``max_bytes``; the least recently used are dropped. Mapped files do not count.

    An index is dropped with its part, when no snapshot has it any more. Safe to use from many threads; one index is built
    at a time, in all processes that share ``folder``.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES, folder: Path | None = None, maker: IndexMaker | None = None) -> None:
        """``folder``: where indexes of files are stored, in a folder for each table; None keeps them in memory.

        ``maker`` makes those in ``folder``; None makes them on a thread.
        """
        self._max_bytes = max_bytes
        self._maker = maker
        self._files: Mapping[str, DerivedFiles] = {name: DerivedFiles(folder / name) for name in SHOWN} if folder else {}
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._gone: deque[int] = deque()
        self._pending: dict[int, Future[None]] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="search-index")
        self._is_closed = False

    @property
    def num_bytes(self) -> int:
        """Memory of all indexes that are in no file."""
        return self._num_bytes

    def of(self, table: str, part: RowPart) -> PartIndex | None:
        """The index of all rows of a part of ``table``; None if there is none."""
        with self._lock:
            self._drop_gone()
            entry = self._entry(_key(part))
        if entry is not None or part.uri is None or table not in self._files:
            return entry.index if entry else None
        # This or another process may have stored it meanwhile.
        segments = self._files[table].open(part.uri, SEARCH_INDEX)
        return self._put_mapped(part, segments) if segments is not None else None

    def start_building(self, table: str, part: RowPart) -> Future[None] | None:
        """Build the index on a thread, unless it exists, is too large, or is being built. Rows in no file get none.

        Returns what is done when it is built; None if it is not being built.
        """
        key = _key(part)
        if not part.files:
            return None
        with self._lock:
            if key not in self._pending and self._entry(key) is None and not self._is_closed:
                self._pending[key] = self._builder.submit(self._make, key, table, part)
            return self._pending.get(key)

    def wait(self, timeout_secs: float | None = None) -> None:
        """Wait until no index is being built. Raises TimeoutError if one takes longer than ``timeout_secs``. Blocks."""
        with self._lock:
            pending = list(self._pending.values())
        for future in pending:
            future.result(timeout_secs)

    def close(self) -> None:
        """Build no more indexes: a process does not end before its threads, and waits for the present index only."""
        with self._lock:
            self._is_closed = True
        if self._maker is not None:
            self._maker.close()
        self._builder.shutdown(wait=False, cancel_futures=True)

    def _make(self, key: int, table: str, part: RowPart) -> None:
        try:
            if part.uri is not None and table in self._files and self._store(table, part.uri, part):
                return
            if not self._is_closed:
                # Rows that are in memory are shown from there, and are not held twice.
                index = _built_within(part, SHOWN[table] if part.uri else (), self._max_bytes)
                self._put(part, index, index.num_bytes if index else 0)
        except Exception:
            # Queries are answered without the index; the next query starts to build it again.
            log.exception("building a search index failed")
        finally:
            with self._lock:
                del self._pending[key]
                is_last = not self._pending
            if is_last and self._maker is not None:
                self._maker.rest()

    def _store(self, table: str, uri: str, part: RowPart) -> bool:
        """Whether the index of a file could be stored."""
        try:
            if self._maker is not None:
                self._maker.make(table, uri)
            self._put_mapped(part, self._files[table].load(uri, SEARCH_INDEX, lambda: build(part, SHOWN[table])))
        except (OSError, ValueError):
            if not self._is_closed:
                log.exception("the search index of %s cannot be stored", uri)
            return False
        return True

    def _put_mapped(self, part: RowPart, segments: list[Postings]) -> PartIndex:
        index = PartIndex(segments)
        self._put(part, index, 0)
        return index

    def _put(self, part: RowPart, index: PartIndex | None, num_bytes: int) -> None:
        key = _key(part)
        # The callback may run at any time, even while this thread has the lock, so it only queues the key.
        alive = weakref.ref(part.index.ids, lambda _: self._gone.append(key))
        with self._lock:
            self._drop(key)
            self._entries[key] = _Entry(alive, index, num_bytes)
            self._num_bytes += num_bytes
            in_memory = [old for old, entry in self._entries.items() if entry.num_bytes]
            while self._num_bytes > self._max_bytes:
                self._drop(in_memory.pop(0))

    def _entry(self, key: int) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None or entry.alive() is None:
            return None
        self._entries.move_to_end(key)
        return entry

    def _drop_gone(self) -> None:
        while self._gone:
            key = self._gone.popleft()
            if key in self._entries and self._entries[key].alive() is None:
                self._drop(key)

    def _drop(self, key: int) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._num_bytes -= entry.num_bytes


def _key(part: RowPart) -> int:
    # The id is unique while the part exists, and an entry whose part is gone is never used.
    return id(part.index.ids)


def _built_within(part: RowPart, columns: tuple[str, ...], max_bytes: int) -> PartIndex | None:
    """The index of a part in memory; None if it takes more than ``max_bytes``."""
    segments: list[Postings] = []
    num_bytes = 0
    for segment in build(part, columns):
        segments.append(segment)
        num_bytes += segment.num_bytes
        if num_bytes > max_bytes:
            return None
    return PartIndex(segments)
