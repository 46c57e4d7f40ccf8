"""Uploads are read no faster than they are stored, and responses are produced no faster than their clients read.

Ray Serve's direct ingress has an unbounded queue in each direction. With a fast client and a slow disk a body fills the
gateway's memory (400 MB raised it by 170 MB), and so does a download or a conversation whose client does not read. Here the
reader waits while the first queue is full; uvicorn then stops reading the socket, and TCP slows the client down. The
application waits while the second is full, as it does behind uvicorn alone.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any, Final

from ray.serve._private import replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from starlette.types import Message, Receive, Scope, Send

MAX_WAITING = 16
"""Messages (of up to 64 KiB each in uploads) that may wait for the application, and of it for the client."""
_OUTBOX: Final = "fluxions.outbox"


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


class Outbox:
    """Counts the messages of one response that wait for its client. The application adds them in its event loop; Ray sends
    them in its own."""

    def __init__(self) -> None:
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        """Of the application, while it waits or has waited."""

    def bounded(self, send: Send) -> Send:
        """``send`` of the application, which waits while `MAX_WAITING` messages do."""

        async def put(message: Message) -> None:
            await self._room()
            with self._lock:
                self._waiting += 1
            await send(message)

        return put

    async def _room(self) -> None:
        while self._is_full():
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop(), asyncio.Event()
            _, room = self._waiter
            room.clear()
            # A message may have been sent between the check and the clearing of the event.
            if self._is_full():
                await room.wait()

    def _is_full(self) -> bool:
        return self._waiting >= MAX_WAITING and not self._closed

    def sent(self) -> None:
        """A message was sent. Ray sends some of its own, which nobody has added."""
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
        self._wake()

    def close(self) -> None:
        """Nothing is sent any more: the application is not to wait."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            loop, room = self._waiter
            with suppress(RuntimeError):  # the application's loop is closed
                loop.call_soon_threadsafe(room.set)


def install() -> None:
    """Use the bounded queues in this replica's process."""
    asgi = replica.Replica._direct_ingress_asgi
    call = replica.UserCallableWrapper._call_http_entrypoint

    async def counted(self: replica.Replica, scope: Scope, receive: Receive, send: Send) -> None:
        outbox = scope[_OUTBOX] = Outbox()

        async def sent(message: Message) -> None:
            try:
                await send(message)
            finally:
                outbox.sent()

        try:
            await asgi(self, scope, receive, sent)
        finally:
            outbox.close()

    def bounded(self: Any, method: Any, scope: Scope, receive: Any, send: Send) -> Any:
        outbox = scope.get(_OUTBOX)
        return call(self, method, scope, receive, send if outbox is None else outbox.bounded(send))

    # Names that replica.py uses itself.
    setattr(replica, "ASGIDIReceiveProxy", BoundedReceiveProxy)  # noqa: B010
    setattr(replica.Replica, "_direct_ingress_asgi", counted)  # noqa: B010
    setattr(replica.UserCallableWrapper, "_call_http_entrypoint", bounded)  # noqa: B010
