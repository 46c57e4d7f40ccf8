"""Tells open realtime sessions that their gateway is being replaced, before their sockets are closed.

Ray Serve closes the sockets of an ending replica with 1012 and no words, and ends the application's lifespan only after
that. Here the application is told at the end of the time in which HAProxy removes the replica: who connects again then is
given to another one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from ray.serve._private import replica

from schemas.domain import Seconds

TOLD_SECS: Final[Seconds] = 5.0
"""How long before the sockets are closed the application is told, and how long it may take."""

logger = logging.getLogger(__name__)

Tell = Callable[[], Coroutine[Any, Any, None]]


def install(tell: Tell, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
    """Have ``tell`` called in this replica's process, in the application's event loop, which Ray runs in a thread of its
    own; None before the application was started."""
    drain: Callable[[Any, Seconds], Awaitable[None]] = replica.Replica._drain_behind_haproxy

    async def told_and_drained(self: replica.Replica, least_secs: Seconds) -> None:
        began = time.monotonic()
        await asyncio.sleep(max(0.0, least_secs - TOLD_SECS))
        if (running := loop()) is not None:
            try:
                async with asyncio.timeout(TOLD_SECS):
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tell(), running))
            except Exception as error:  # the replica ends all the same
                logger.warning("open sessions were not told of the end: %s", type(error).__name__)
        await drain(self, max(0.0, began + least_secs - time.monotonic()))

    setattr(replica.Replica, "_drain_behind_haproxy", told_and_drained)  # noqa: B010 - not Ray's public interface
