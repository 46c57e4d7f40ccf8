"""Retries of all clients: when a call is repeated, and the pause before.

A call is repeated only if that is safe: if no connection was made, so the server cannot have acted, or if the call is
idempotent and the failure is temporary. Pauses double, with jitter, so that many clients do not return at the same moment
(Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx

from schemas.errors import FluxionsError, RateLimited, ServerUnreachable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call is repeated. ``obeys_retry_after``: pauses are at least the server's ``Retry-After``."""

    total_secs: float
    first_pause_secs: float = 0.1
    longest_pause_secs: float = 5.0
    obeys_retry_after: bool = True


class _Attempts:
    """The attempts of one call: decides after each failure whether there is another, and when."""

    def __init__(self, patience: Patience, idempotent: bool, server: str) -> None:
        self._patience = patience
        self._idempotent = idempotent
        self._server = server
        self._deadline = time.monotonic() + patience.total_secs
        self._pause_secs = patience.first_pause_secs

    def pause_secs(self, cause: FluxionsError | httpx.TransportError) -> float:
        """The pause before the next attempt. Raises the error of this attempt if there is no next one."""
        if isinstance(cause, FluxionsError):
            error, again = cause, cause.retryable and (self._idempotent or isinstance(cause, RateLimited))
        else:
            error = unreachable(self._server, cause)
            again = self._idempotent or isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout)
        asked_secs = error.retry_after_secs if self._patience.obeys_retry_after else None
        pause_secs = max(self._pause_secs, asked_secs or 0.0)
        if not again or time.monotonic() + pause_secs > self._deadline:
            raise error from (cause if error is not cause else None)
        self._pause_secs = min(pause_secs * 2, self._patience.longest_pause_secs)
        # A shorter pause than the server asked for would be refused again.
        return max(asked_secs or 0.0, pause_secs * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def call(
    once: Callable[[], T], patience: Patience, *, idempotent: bool, server: str, wait: Callable[[float], None] = time.sleep
) -> T:
    """The result of ``once``, which raises FluxionsError or httpx.TransportError when an attempt fails.

    ``server`` is named in errors. ``wait`` may raise to end the pauses. Raises the error of the last attempt, and
    ServerUnreachable if no server answered.
    """
    attempts = _Attempts(patience, idempotent, server)
    while True:
        try:
            return once()
        except (FluxionsError, httpx.TransportError) as error:
            pause_secs = attempts.pause_secs(error)
        wait(pause_secs)


async def call_async(once: Callable[[], Awaitable[T]], patience: Patience, *, idempotent: bool, server: str) -> T:
    """As `call`, for asyncio."""
    attempts = _Attempts(patience, idempotent, server)
    while True:
        try:
            return await once()
        except (FluxionsError, httpx.TransportError) as error:
            pause_secs = attempts.pause_secs(error)
        await asyncio.sleep(pause_secs)


def unreachable(server: str, cause: httpx.TransportError) -> ServerUnreachable:
    """The error of a call that no server answered."""
    return ServerUnreachable(
        f"no answer from {server} ({type(cause).__name__}); is it running? `fluxions up` starts a server"
    )
