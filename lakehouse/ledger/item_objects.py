"""Erases the objects of items: of voices, consents and speakers that were deleted, replaced or refused.

An erasure that failed is repeated until it is done. The ledger may end before: then the objects of items that were deleted
lately are erased when it opens again, and others are removed as orphans.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields
from typing import Any, Final

from lakehouse.ledger.clock import Clock
from schemas.domain import Seconds

logger = logging.getLogger(__name__)

ERASED_AGAIN: Final = dt.timedelta(days=7)
"""Data of items that were deleted within this time are erased again when the ledger opens, because the ledger may have
ended during the erasure.
"""
RETRY_SECS: Final[Seconds] = 30.0


def object_keys(item: Any) -> set[str]:
    """Keys of the objects of an item, a dataclass: the fields whose names end with `_key`. None for None."""
    if item is None:
        return set()
    named = (getattr(item, field.name) for field in fields(item) if field.name.endswith("_key"))
    return {key for key in named if key is not None}


class ItemObjects:
    """No two items have an object in common. ``delete`` removes an object, and does no harm if it is gone."""

    def __init__(self, delete: Callable[[str], Awaitable[None]], clock: Clock) -> None:
        self._delete = delete
        self._clock = clock
        self._pending: set[str] = set()
        self._repeating: asyncio.Task[None] | None = None

    async def erase(self, keys: Iterable[str]) -> None:
        """Erase objects, now or as soon as the store allows it."""
        self._pending |= await self._left(set(keys))
        if self._pending and (self._repeating is None or self._repeating.done()):
            self._repeating = asyncio.create_task(self._repeat(), name="erasure of items")

    async def close(self) -> None:
        """Stop."""
        if self._repeating is not None:
            self._repeating.cancel()
            await asyncio.wait([self._repeating])

    async def _repeat(self) -> None:
        while self._pending:
            await self._clock.sleep(RETRY_SECS)
            tried = set(self._pending)
            self._pending -= tried - await self._left(tried)

    async def _left(self, keys: set[str]) -> set[str]:
        """Those of ``keys`` that could not be erased."""
        left = set()
        for key in keys:
            try:
                await self._delete(key)
            except Exception as error:  # tried again after any error of a store
                logger.warning("an object of a deleted item could not be erased yet: %s", type(error).__name__)
                left.add(key)
        return left
