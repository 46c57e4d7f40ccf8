"""What a replica reports to Ray Serve: how long requests wait in it, and how long it has not been used."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from schemas.domain import Seconds

QUEUE_SECS: Final = "fluxions_queue_secs"
IDLE_SECS: Final = "fluxions_idle_secs"
"""Names in the report of a replica."""


class ReplicaLoad:
    """The requests of one replica. Belongs to its event loop."""

    def __init__(self, clock: Callable[[], Seconds] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: dict[int, Seconds] = {}
        """When each request came on which no work has begun, oldest first."""
        self._num_uses = 0
        self._last_use = clock()

    @contextmanager
    def use(self) -> Iterator[None]:
        """Around work for a client."""
        self._num_uses += 1
        try:
            yield
        finally:
            self._num_uses -= 1
            self._last_use = self._clock()

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Around work for a client that may have to wait; gives what is called once work on it has begun."""
        number = next(self._numbers)

        def begun() -> None:
            self._waiting.pop(number, None)

        self._waiting[number] = self._clock()
        with self.use():
            try:
                yield begun
            finally:
                begun()

    def report(self) -> dict[str, float]:
        """Age of the oldest request on which no work has begun, and time since the last use, s; both 0 if there is none."""
        now = self._clock()
        oldest = next(iter(self._waiting.values()), now)
        return {QUEUE_SECS: now - oldest, IDLE_SECS: 0.0 if self._num_uses else now - self._last_use}
