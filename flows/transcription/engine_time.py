"""Engine time of a recording: the wall time in which at least one engine worked on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.domain import Seconds


class EngineTime:
    """Collects working times of replicas; for one event loop.

    A replica measures how long it worked, and the arrival of its answer is taken as the end, so clocks of different
    machines are not compared. Overlapping times count once.
    """

    def __init__(self, clock: Callable[[], Seconds] = time.monotonic) -> None:
        self._clock = clock
        self._intervals: list[tuple[Seconds, Seconds]] = []
        """Intervals, sorted, not overlapping."""

    def add(self, engine_secs: Seconds) -> None:
        """Add the work of an engine whose answer has just arrived; it took ``engine_secs``."""
        end = self._clock()
        start = end - engine_secs
        # Answers arrive in order of their ends, so only the last intervals can overlap this one.
        while self._intervals and self._intervals[-1][1] >= start:
            start = min(start, self._intervals.pop()[0])
        self._intervals.append((start, end))

    @property
    def total_secs(self) -> Seconds:
        """Length of the union of all intervals."""
        return sum((end - start for start, end in self._intervals), 0.0)
