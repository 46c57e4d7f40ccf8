"""Realtime sessions of several gateway replicas behind HAProxy: placed where there is room, refused, and drained."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from schemas.settings import RealtimeSettings
from tests.contract.gateway import USER_KEY, Running, quick_settings, running
from tests.contract.speaking import served, until
from tests.support.proxied import Proxied

pytestmark = pytest.mark.contract

ROOM = 2


async def _gateways(stack: AsyncExitStack, folder: Path) -> tuple[list[Running], list[int]]:
    """Two replicas with room for two sessions each, and their ports."""
    gateways, ports = [], []
    for number in range(2):
        home = folder / str(number)
        settings = quick_settings(home).model_copy(update={"realtime": RealtimeSettings(realtime_sessions=ROOM)})
        gateways.append(await stack.enter_async_context(running(home, settings)))
        ports.append(int((await stack.enter_async_context(served(gateways[-1]))).rpartition(":")[2]))
        # A first session loads the models, which would keep this process from HAProxy's health checks.
        await (await _session(ports[-1])).close()
    return gateways, ports


def _rooms(gateways: list[Running]) -> list[int]:
    return [gateway.services.realtime.open_sessions for gateway in gateways]


async def _event(ws: ClientConnection, kind: str) -> dict[str, dict[str, str]]:
    async with asyncio.timeout(60):
        while (event := json.loads(await ws.recv()))["type"] != kind:
            pass
    return dict(event)


async def _session(port: int) -> ClientConnection:
    ws = await connect(f"ws://127.0.0.1:{port}/v1/realtime?model=x", additional_headers={"Authorization": USER_KEY})
    await _event(ws, "session.created")
    return ws


async def test_sessions_go_where_there_is_room_and_a_replica_that_leaves_says_so(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateways, ports = await _gateways(stack, tmp_path)
        proxied = Proxied(tmp_path, ports, "/health")
        # HAProxy is asked over HTTP until it answers, by servers in this loop.
        proxy = proxied.running()
        await asyncio.to_thread(proxy.__enter__)
        stack.push(proxy.__exit__)

        async def opened() -> ClientConnection:
            ws = await _session(proxied.port)
            stack.push_async_callback(ws.close)
            return ws

        await until(lambda: _rooms(gateways) == [0, 0])
        sessions = [await opened() for _ in range(2 * ROOM)]
        assert _rooms(gateways) == [ROOM, ROOM]
        with pytest.raises(websockets.InvalidStatus) as refused:
            await opened()
        assert refused.value.response.status_code == 503
        error = json.loads(refused.value.response.body)["error"]
        assert error["code"] == "too_many_sessions"
        assert "try again" in error["message"]
        await sessions[0].close()
        await until(lambda: sum(_rooms(gateways)) == 2 * ROOM - 1)
        sessions[0] = await opened()
        assert _rooms(gateways) == [ROOM, ROOM]
        leaving = asyncio.create_task(gateways[0].services.realtime.drain(10))
        await until(lambda: sum(ws.close_code is not None for ws in sessions) == ROOM)
        await leaving
        assert _rooms(gateways) == [0, ROOM]
        gone = [ws for ws in sessions if ws.close_code is not None]
        for ws in gone:
            assert ws.close_code == 1001
            assert (await _event(ws, "error"))["error"]["code"] == "server_going_away"
        for ws in sessions:
            if ws not in gone:
                await ws.send(json.dumps({"type": "input_audio_buffer.clear"}))
                await _event(ws, "input_audio_buffer.cleared")
