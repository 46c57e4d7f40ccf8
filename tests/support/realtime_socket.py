"""A client of `/v1/realtime` on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.contract.gateway import USER_KEY


def opened(address: str, key: str | None = USER_KEY, path: str = "/v1/realtime?model=test", **options: Any) -> connect:
    headers = {"Authorization": key} if key else {}
    return connect(f"ws://{address}{path}", additional_headers=headers, max_size=None, **options)


async def next_of(ws: ClientConnection, *kinds: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await ws.recv())
            if event["type"] in kinds:
                return event
