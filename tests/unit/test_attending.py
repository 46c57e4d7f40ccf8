"""The gateway tells the ledger that workers can speak once requests reach it, and goes on when the ledger was away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from schemas.errors import Unavailable
from serve.gateway.attending import Attendance, NoteReached


class Told:
    """A ledger that is away the first time."""

    def __init__(self) -> None:
        self.times = 0
        self.enough = asyncio.Event()

    async def attend(self) -> None:
        self.times += 1
        if self.times == 1:
            raise Unavailable("restarting")
        if self.times == 3:
            self.enough.set()


@asynccontextmanager
async def attending(told: Told) -> AsyncIterator[httpx.AsyncClient]:
    attendance = Attendance(told, lease_secs=0.12)
    app = FastAPI()
    app.add_middleware(NoteReached, attendance=attendance)
    task = asyncio.create_task(attendance.run())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_ledger_is_told_from_the_first_request_on() -> None:
    told = Told()
    async with attending(told) as client:
        await asyncio.sleep(0.1)
        assert told.times == 0
        assert (await client.get("/nowhere")).status_code == 404
        await asyncio.wait_for(told.enough.wait(), 10)
