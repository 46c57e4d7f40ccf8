"""Tells the ledger that the gateway can be reached: leases expire only while workers could renew them."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.domain import Seconds
from schemas.errors import FluxionsError

logger = logging.getLogger(__name__)


class _Jobs(Protocol):
    async def gateway_alive(self) -> None: ...


class LeaseHeartbeat:
    """Calls `JobLedger.gateway_alive` twelve times during a lease, and at least once a second.

    The calls begin with the first request. Before that the proxy may not route to this gateway yet, and then no worker
    could renew a lease.
    """

    def __init__(self, jobs: _Jobs, lease_secs: Seconds) -> None:
        self._jobs = jobs
        self._interval_secs = min(1.0, lease_secs / 12)
        self.reachable = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled. If the ledger is unavailable, the next call follows after the interval."""
        await self.reachable.wait()
        while True:
            try:
                await self._jobs.gateway_alive()
            except FluxionsError as error:
                logger.warning("the ledger did not record the gateway's heartbeat: %s", error.code)
            await asyncio.sleep(self._interval_secs)


class MarkReachable:
    """Middleware that starts the heartbeat with the first request."""

    def __init__(self, app: ASGIApp, heartbeat: LeaseHeartbeat) -> None:
        self._app = app
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self._heartbeat.reachable.set()
        await self._app(scope, receive, send)
