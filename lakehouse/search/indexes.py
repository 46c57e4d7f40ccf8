"""The indexes of a process: made behind the first query that could have used one, kept for those that follow."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lakehouse.search.building import build
from lakehouse.search.postings import Postings
from lakehouse.search.rows import SpanRun

log = logging.getLogger(__name__)

DEFAULT_BYTES = 256 * 2**20
"""Memory for indexes in a process. An account that needs more alone is searched without one."""

_Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """``alive`` goes with the part. ``postings``: None for one that is too large."""

    alive: weakref.ref[Any]
    postings: Postings | None
    num_bytes: int


class Indexes:
    """Indexes by account and part, together at most ``max_bytes``; those not asked for longest go first.

    An index goes with its part, once no snapshot has it any more. Safe from many threads; one at a time is built.
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
        return self._num_bytes

    def of(self, run: SpanRun) -> Postings | None:
        """The index of the account's rows in the run's part, if there is one; rows the run leaves out are in it too."""
        with self._lock:
            self._forget_gone()
            entry = self._entry(_key(run))
            return entry.postings if entry else None

    def begin(self, run: SpanRun) -> None:
        """Make the index on a thread, unless it is there, under way or too large. Rows that are in no file get none."""
        key = _key(run)
        if run.part.files:
            with self._lock:
                if key not in self._pending and self._entry(key) is None:
                    self._pending[key] = self._builder.submit(self._make, key, run)

    def wait(self) -> None:
        """Until those begun are made."""
        with self._lock:
            pending = list(self._pending.values())
        for future in pending:
            future.result()

    def _make(self, key: _Key, run: SpanRun) -> None:
        try:
            postings = build(run.part, run.low, run.high, self._max_bytes)
            self._put(key, run, postings)
        except Exception:
            # Queries are answered without it; the next one begins it again.
            log.exception("building a search index failed")
        finally:
            with self._lock:
                del self._pending[key]

    def _put(self, key: _Key, run: SpanRun, postings: Postings | None) -> None:
        num_bytes = postings.num_bytes if postings else 0
        if num_bytes > self._max_bytes:
            postings, num_bytes = None, 0
        # May be called within any line of code, also under the lock: so it only takes a note.
        alive = weakref.ref(run.part.keys.ids, lambda _: self._gone.append(key))
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

    def _forget_gone(self) -> None:
        while self._gone:
            key = self._gone.popleft()
            if key in self._entries and self._entries[key].alive() is None:
                self._drop(key)

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._num_bytes -= entry.num_bytes


def _key(run: SpanRun) -> _Key:
    # Unique as long as the part lives, and an entry whose part does not counts for nothing.
    return id(run.part.keys.ids), run.low, run.high
