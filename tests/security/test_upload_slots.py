"""Uploads above what a gateway takes at once are refused at once, and their slots come back however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.settings import LimitSettings, ServerSettings, Settings, StorageSettings
from tests.contract.gateway import running
from tests.e2e import recordings

pytestmark = pytest.mark.security


async def test_more_uploads_than_slots_are_refused_at_once_and_slots_come_back(tmp_path: Path) -> None:
    settings = Settings(
        server=ServerSettings(home=tmp_path),
        storage=StorageSettings(fsync=False),
        limits=LimitSettings(uploads_at_once=1),
    )
    begun, go_on = asyncio.Event(), asyncio.Event()
    content = recordings.sentence(0)

    async def slow() -> AsyncIterator[bytes]:
        yield content[:1000]
        begun.set()
        await go_on.wait()
        yield content[1000:]

    async def breaks_off() -> AsyncIterator[bytes]:
        yield content[:1000]
        raise ConnectionResetError

    async with running(tmp_path, settings) as gateway, gateway.client() as client:
        first = asyncio.create_task(client.post("/submit", content=slow()))
        await asyncio.wait_for(begun.wait(), 30)
        refused = await asyncio.wait_for(client.post("/submit", content=content), 30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/transcriptions")).status_code == 200, "what is no upload is served"
        form = {"files": {"file": ("a.wav", recordings.sentence(1))}, "data": {"model": "whisper-1"}}
        awaited = asyncio.create_task(client.post("/v1/audio/transcriptions", **form))
        async with asyncio.timeout(30):
            while not (await client.get("/transcriptions")).json()["total"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        awaited.cancel()
        go_on.set()
        assert (await first).status_code == 200
        assert not (await client.post("/submit", content=breaks_off())).is_success
        assert (await client.post("/submit", content=b"none")).status_code == 400
        assert (await client.post("/submit", content=content)).status_code == 200
