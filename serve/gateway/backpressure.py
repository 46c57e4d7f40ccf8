"""Uploads are read no faster than they are stored.

Ray Serve's direct ingress reads a request body into an unbounded queue. With a fast client and a slow disk the body
fills the gateway's memory (400 MB raised it by 170 MB). Here the reader waits while the queue is full; uvicorn then
stops reading the socket, and TCP slows the client down.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from ray.serve._private import replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy

MAX_WAITING = 16
"""Messages (of up to 64 KiB each) that may wait for the application."""


class BoundedReceiveProxy(ASGIDIReceiveProxy):
    """A queue with a bound. The reader runs in Ray's event loop, the application in that of another thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._waiting = 0
        self._lock = threading.Lock()
        self._reader: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        receive = self._receive

        async def receive_when_wanted() -> Any:
            if self._reader is None:
                self._reader = asyncio.get_running_loop(), asyncio.Event()
            _, room = self._reader
            while self._waiting >= MAX_WAITING:
                room.clear()
                # The application may have taken a message between the check and the clearing of the event.
                if self._waiting >= MAX_WAITING:
                    await room.wait()
            message = await receive()
            with self._lock:
                self._waiting += 1
            return message

        self._receive = receive_when_wanted

    async def __call__(self) -> Any:
        message = await super().__call__()
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
        if self._reader is not None:
            loop, room = self._reader
            loop.call_soon_threadsafe(room.set)
        return message


def install() -> None:
    """Use the bounded queue in this replica's process."""
    setattr(replica, "ASGIDIReceiveProxy", BoundedReceiveProxy)  # noqa: B010 - a name that replica.py imports for itself
