"""How many windows of one recording are at the recognisers at once.

A recogniser processes the windows that wait for it as one batch, whose words come when all of it is done. A large batch
takes less time for a window than a small one. But with all windows of a recording in large batches, its text comes at the
very end, and one recogniser is idle during the last batch of another. So fewer windows are in flight when fewer are left.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Final

_SHARE_OF_LEFT: Final = Fraction(2, 3)
"""Share of the windows that are not yet recognised which may be in flight."""
_LEAST_SHARE: Final = Fraction(1, 4)
"""Share of the most windows in flight that always may be, so that no recogniser is idle."""


class WindowPace:
    """``async with pace.place()`` around each request for a window; places are given in the order of the calls."""

    def __init__(self, num_windows: int, at_once: int) -> None:
        """``at_once``: windows in flight that keep all recognisers busy with full batches."""
        self._left = num_windows
        self._at_once = at_once
        self._limit = self._allowed()
        self._places = asyncio.Semaphore(self._limit)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait until one more window may be in flight; leaving without an error means that it is recognised."""
        await self._places.acquire()
        try:
            yield
            self._left -= 1
        finally:
            if self._allowed() < self._limit:
                self._limit -= 1
            else:
                self._places.release()

    def _allowed(self) -> int:
        least = math.ceil(self._at_once * _LEAST_SHARE)
        return min(self._at_once, max(least, math.ceil(self._left * _SHARE_OF_LEFT)))
