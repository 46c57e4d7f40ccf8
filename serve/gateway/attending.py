"""Telling the ledger that workers can speak: their leases run only while they can."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.domain import Seconds
from schemas.errors import FluxionsError

logger = logging.getLogger(__name__)


class _Ledger(Protocol):
    async def attend(self) -> None: ...


class Attendance:
    """Begins with the first request: a gateway that has started may still be unknown to the proxy before it."""

    def __init__(self, ledger: _Ledger, lease_secs: Seconds) -> None:
        self._ledger = ledger
        self._every_secs = min(1.0, lease_secs / 12)
        self.reached = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        await self.reached.wait()
        while True:
            try:
                await self._ledger.attend()
            except FluxionsError as error:
                logger.warning("the ledger is not told that workers can speak: %s", error.code)
            await asyncio.sleep(self._every_secs)


class NoteReached:
    """Middleware: notes that requests come through."""

    def __init__(self, app: ASGIApp, attendance: Attendance) -> None:
        self._app = app
        self._attendance = attendance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self._attendance.reached.set()
        await self._app(scope, receive, send)
