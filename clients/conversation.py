"""An asynchronous client of `/v1/realtime`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from clients.public import Target
from schemas.errors import ServerUnreachable, error_from_response

_OPEN_SECS: Final = 20.0


class LiveConversation:
    """An open session. Audio is s16le at 24 kHz mono unless the session was updated to another format."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event. Raises ServerUnreachable after the end of the session."""
        try:
            await self._socket.send(orjson.dumps({"type": kind, **fields}).decode())
        except ConnectionClosed as error:
            raise ServerUnreachable("the session is over; open another one") from error

    async def speak(self, pcm: bytes) -> None:
        """Append audio. Raises ServerUnreachable."""
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The server's events until the session ends."""
        async for message in self._socket:
            event: dict[str, Any] = orjson.loads(message)
            yield event


@asynccontextmanager
async def conversation(
    target: Target, model: str = "fluxions", *, eager: bool | None = None
) -> AsyncIterator[LiveConversation]:
    """Open a session and close it at the end. ``eager``: whether responses are prepared before a turn is certainly over;
    None for the server's setting. Raises the server's error, and ServerUnreachable."""
    address = target.url.replace("http", "ws", 1) + f"/v1/realtime?model={quote(model, safe='')}"
    if eager is not None:
        address += f"&eager={str(eager).lower()}"
    headers = {"Authorization": target.key} if target.key else {}
    try:
        socket = await connect(address, additional_headers=headers, max_size=None, open_timeout=_OPEN_SECS)
    except InvalidStatus as error:
        raise error_from_response(error.response.status_code, _json(error.response.body)) from None
    except (OSError, WebSocketException) as error:
        raise ServerUnreachable(f"nothing answers at {target.url}; is the server running?") from error
    async with socket:
        yield LiveConversation(socket)


def _json(body: bytes | bytearray) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
