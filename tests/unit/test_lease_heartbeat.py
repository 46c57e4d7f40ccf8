"""The gateway's heartbeat begins with its first request, and goes on when the ledger was away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from schemas.errors import Unavailable
from serve.gateway.lease_heartbeat import LeaseHeartbeat, MarkReachable

pytestmark = pytest.mark.unit


class CountingLedger:
    """A ledger that is away the first time."""

    def __init__(self) -> None:
        self.times = 0
        self.enough = asyncio.Event()

    async def gateway_alive(self) -> None:
        self.times += 1
        if self.times == 1:
            raise Unavailable("restarting")
        if self.times == 3:
            self.enough.set()


@asynccontextmanager
async def heartbeat_of(told: CountingLedger) -> AsyncIterator[httpx.AsyncClient]:
    heartbeat = LeaseHeartbeat(told, lease_secs=0.12)
    app = FastAPI()
    app.add_middleware(MarkReachable, heartbeat=heartbeat)
    task = asyncio.create_task(heartbeat.run())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_heartbeat_begins_with_the_first_request() -> None:
    told = CountingLedger()
    async with heartbeat_of(told) as client:
        await asyncio.sleep(0.1)
        assert told.times == 0
        assert (await client.get("/nowhere")).status_code == 404
        await asyncio.wait_for(told.enough.wait(), 60)
