"""Completes changes even if their caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from schemas.errors import Unavailable

T = TypeVar("T")


class ChangeTasks:
    """Tasks of unfinished changes.

    A committed row must also be applied to memory if the caller of the change is cancelled.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def check_open(self) -> None:
        """Raises Unavailable(code="closed") once `close` was called."""
        if self._closed:
            raise Unavailable("the ledger is closing; try again", code="closed")

    async def run(self, change: Coroutine[Any, Any, T]) -> T:
        """The result of ``change``, which continues if the caller is cancelled.

        Raises its errors, and as `check_open`.
        """
        try:
            self.check_open()
        except Unavailable:
            change.close()
            raise
        task = asyncio.create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def close(self) -> None:
        """Refuse further changes."""
        self._closed = True

    async def drain(self) -> None:
        """Wait for unfinished changes."""
        if self._tasks:
            await asyncio.wait(self._tasks)
