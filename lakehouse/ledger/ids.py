"""Ids and creation times, allocated together so that their orders agree, and event numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from lakehouse.ledger.clock import Clock


class Allocator:
    """Allocates ids from 1 and event numbers from 0. ``created_at`` never goes back, even if the wall clock does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._created_at = dt.datetime.fromtimestamp(0, dt.UTC)
        self._seq = -1
        self.next_id = 1

    def restore(self, bounds: Mapping[str, Any]) -> None:
        """Continue after the highest ``id``, ``created_at`` and, where present, ``seq`` of a table; all None in an empty
        one.
        """
        if bounds["id"] is not None:
            self._seq = bounds.get("seq", self._seq)
            self.next_id = bounds["id"] + 1
            self._created_at = bounds["created_at"].astimezone(dt.UTC)

    def skip(self, last: int) -> None:
        """Make later ids follow ``last``."""
        self.next_id = max(self.next_id, last + 1)

    def next(self) -> tuple[int, dt.datetime]:
        """The next id and its ``created_at``, UTC, whole milliseconds."""
        job_id = self.next_id
        self.next_id += 1
        self._created_at = max(self._created_at, self._clock.utc())
        return job_id, self._created_at

    def next_seq(self) -> int:
        """The next event number."""
        self._seq += 1
        return self._seq
