"""The socket of one session: reading, writing and closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from schemas.api.realtime.server_events import error_event
from schemas.domain import Seconds
from serve.realtime.event_writer import EventWriter
from serve.realtime.session import Session

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[str | bytes | None]]
"""The next message; None when the client is gone."""
_LAST_WORDS_SECS: Final[Seconds] = 5.0
GOING_AWAY: Final = 1001
POLICY: Final = 1008
NORMAL: Final = 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """How a socket is closed; ``is_gone`` if the client has already closed it."""

    code: int
    reason: str = ""
    is_gone: bool = False


async def converse(
    session: Session, writer: EventWriter, receive: Receive, *, longest_secs: Seconds, leaving: asyncio.Event
) -> Ending:
    """Run ``session`` until the client disconnects, its time limit, or ``leaving`` is set; then stop its engines."""
    session.open()
    reading = asyncio.create_task(_read(session, receive), name=f"{session.id} reads")
    writing = asyncio.create_task(writer.run(), name=f"{session.id} writes")
    leaves = asyncio.create_task(leaving.wait(), name=f"{session.id} waits for the end")
    overflows = asyncio.create_task(writer.overflow.wait(), name=f"{session.id} is read too slowly")
    tasks = (reading, writing, leaves, overflows)
    try:
        done, _ = await asyncio.wait(tasks, timeout=longest_secs, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            reading.result()
            return Ending(NORMAL, is_gone=True)
        if writing in done:
            writing.exception()  # retrieved, so that asyncio logs nothing: a socket that cannot be written to is closed
            return Ending(NORMAL, is_gone=True)
        if overflows in done:
            logger.warning("session %s: its client does not read", session.id)
            return Ending(POLICY, "slow_client")
        if leaves in done:
            message, code = "this server is going away; connect again", "server_going_away"
        else:
            message, code = f"a session lasts at most {longest_secs:g} s; open another one", "session_expired"
        # Messages that arrive meanwhile are ignored.
        reading.cancel()
        writer.send(error_event(kind="server_error", code=code, message=message))
        try:
            async with asyncio.timeout(_LAST_WORDS_SECS):
                await writer.drained()
        except TimeoutError:
            pass  # the client does not read
        return Ending(GOING_AWAY, code)
    finally:
        await _uninterrupted(_stop(tasks, session))


async def _stop(tasks: Iterable[asyncio.Task[Any]], session: Session) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await session.close()


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` to its end, and only then raise the cancellation of the caller, if there was one.

    Ray Serve cancels the handler of a socket shortly after the client has left, when the session is already being closed.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _read(session: Session, receive: Receive) -> None:
    while (message := await receive()) is not None:
        await session.take(message)
