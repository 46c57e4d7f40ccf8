"""Messages of WebSocket clients, and the last ones to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from schemas.domain import Seconds
from schemas.errors import FluxionsError

_CLOSE_SECS: Final[Seconds] = 5.0
_REFUSED: Final = 1008
_BROKEN: Final = 1011


async def received(socket: WebSocket) -> str | bytes | None:
    """The next message, as text or as bytes; None when the client has disconnected."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text: str | None = message.get("text")
    return text if text is not None else message.get("bytes", b"")


def is_gone(socket: WebSocket) -> bool:
    """Whether the socket is closed, by whichever side."""
    return WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state)


def is_open(socket: WebSocket) -> bool:
    """Whether the socket is accepted, and closed by neither side."""
    return socket.application_state is WebSocketState.CONNECTED and not is_gone(socket)


def close_code(error: FluxionsError) -> int:
    """The code with which a socket is closed after an error (RFC 6455, section 7.4.1): 1008, or 1011 for ours."""
    return _REFUSED if error.status < 500 else _BROKEN


async def parted(last: Awaitable[None]) -> None:
    """Send the last messages to a client, and the close. One that does not read them is waited for for 5 s at most."""
    with suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(_CLOSE_SECS):
            await last
