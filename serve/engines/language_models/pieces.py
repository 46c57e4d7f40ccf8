"""Timeouts of an answer: for the first piece, between pieces, and in total."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from schemas.domain import Seconds
from schemas.errors import EngineFailure, FluxionsError, Unavailable

T = TypeVar("T")

_AFTER_END_SECS: Final[Seconds] = 1.0


@dataclass(slots=True)
class Pacing:
    """The timeouts of one answer, from the creation of this object. ``who`` names the model in messages.

    The caller sets ``has_begun`` with the first piece that has text or a call.
    """

    who: str
    first_secs: Seconds
    between_secs: Seconds
    all_secs: Seconds
    has_begun: bool = False
    has_ended: bool = False
    """Whether only the usage may still follow."""
    began: Seconds = field(default_factory=lambda: asyncio.get_running_loop().time())

    def left_secs(self) -> Seconds:
        """The remaining time for the next piece."""
        if self.has_ended:
            return _AFTER_END_SECS
        passed = asyncio.get_running_loop().time() - self.began
        if self.has_begun:
            return min(self.between_secs, self.all_secs - passed)
        return min(self.first_secs, self.all_secs) - passed

    def late(self) -> FluxionsError:
        """The exception for a piece that is late."""
        if not self.has_begun:
            return Unavailable(
                f"{self.who} did not begin to answer within {self.first_secs:g} s", code="llm_timeout", retry_after_secs=2
            )
        if asyncio.get_running_loop().time() - self.began >= self.all_secs:
            return EngineFailure(f"{self.who} did not end its answer within {self.all_secs:g} s", code="llm_timeout")
        return EngineFailure(f"{self.who} stopped for {self.between_secs:g} s within its answer", code="llm_timeout")


async def next_piece(piece: Awaitable[T], pacing: Pacing) -> T:
    """The next piece of an answer. After the timeout ``piece`` is cancelled and the exception of `Pacing.late` raised."""
    try:
        async with asyncio.timeout(pacing.left_secs()):
            return await piece
    except TimeoutError:
        raise pacing.late() from None
