"""The search indexes of a process. An index is built after the first query that could have used it, and cached."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lakehouse.search.index_builder import build
from lakehouse.search.postings import Postings
from lakehouse.search.protocols import SpanRun

log = logging.getLogger(__name__)

DEFAULT_BYTES = 256 * 2**20
"""Memory for all indexes of a process. An account whose index alone needs more is searched without an index."""

_Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """``alive`` refers to the part. ``postings`` is None if the index would be too large."""

    alive: weakref.ref[Any]
    postings: Postings | None
    num_bytes: int


class IndexCache:
    """Indexes by account and part. Holds at most ``max_bytes``; the least recently used are dropped.

    An index is dropped with its part, when no snapshot has it any more. Safe to use from many threads; one index is built
    at a time.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._gone: deque[_Key] = deque()
        self._pending: dict[_Key, Future[None]] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="search-index")

    @property
    def num_bytes(self) -> int:
        """Approximate memory of all indexes."""
        return self._num_bytes

    def of(self, run: SpanRun) -> Postings | None:
        """The index of all of the account's rows in the run's part, hidden ones too; None if there is none."""
        with self._lock:
            self._drop_gone()
            entry = self._entry(_key(run))
            return entry.postings if entry else None

    def start_building(self, run: SpanRun) -> None:
        """Build the index on a thread, unless it exists, is being built, or is too large. Rows in no file get none."""
        key = _key(run)
        if run.part.files:
            with self._lock:
                if key not in self._pending and self._entry(key) is None:
                    self._pending[key] = self._builder.submit(self._make, key, run)

    def wait(self, timeout_secs: float | None = None) -> None:
        """Wait until no index is being built. Raises TimeoutError if one takes longer than ``timeout_secs``. Blocks."""
        with self._lock:
            pending = list(self._pending.values())
        for future in pending:
            future.result(timeout_secs)

    def _make(self, key: _Key, run: SpanRun) -> None:
        try:
            postings = build(run.part, run.low, run.high, self._max_bytes)
            self._put(key, run, postings)
        except Exception:
            # Queries are answered without the index; the next query starts to build it again.
            log.exception("building a search index failed")
        finally:
            with self._lock:
                del self._pending[key]

    def _put(self, key: _Key, run: SpanRun, postings: Postings | None) -> None:
        num_bytes = postings.num_bytes if postings else 0
        if num_bytes > self._max_bytes:
            postings, num_bytes = None, 0
        # The callback may run at any time, even while this thread has the lock, so it only queues the key.
        alive = weakref.ref(run.part.index.ids, lambda _: self._gone.append(key))
        with self._lock:
            self._drop(key)
            self._entries[key] = _Entry(alive, postings, num_bytes)
            self._num_bytes += num_bytes
            while self._num_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def _entry(self, key: _Key) -> _Entry | None:
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

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._num_bytes -= entry.num_bytes


def _key(run: SpanRun) -> _Key:
    # The id is unique while the part exists, and an entry whose part is gone is never used.
    return id(run.part.index.ids), run.low, run.high
