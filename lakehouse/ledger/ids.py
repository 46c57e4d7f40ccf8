"""Ids, times and event numbers, allocated together so that the order of ids is the order of times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from lakehouse.ledger.clock import Clock


class Allocator:
    """Ids count from 1, ``seq`` from 0; ``created_at`` never goes back, even if the clock of the day does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._created_at = dt.datetime.fromtimestamp(0, dt.UTC)
        self._seq = -1
        self.next_id = 1

    def restore(self, bounds: Mapping[str, Any]) -> None:
        """Go on after the highest ``id``, ``created_at`` and, where there is one, ``seq``; None in an empty table."""
        if bounds["id"] is not None:
            self._seq = bounds.get("seq", self._seq)
            self.next_id = bounds["id"] + 1
            self._created_at = bounds["created_at"].astimezone(dt.UTC)

    def next(self) -> tuple[int, dt.datetime]:
        """The next id and its ``created_at``, UTC, whole milliseconds."""
        job_id = self.next_id
        self.next_id += 1
        self._created_at = max(self._created_at, self._clock.utc())
        return job_id, self._created_at

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq
