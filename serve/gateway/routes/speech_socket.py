"""`/vui/v1/tts/ws`: many renders over one socket, one after the other."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket

from schemas.errors import FluxionsError
from serve.gateway.dependencies import Services
from serve.gateway.socket_messages import close_code, is_gone, is_open, parted, received
from serve.services.speech_session import SpeechSession, error_message

router = APIRouter(prefix="/vui")


@router.websocket("/v1/tts/ws")
async def speak(socket: WebSocket) -> None:
    """Render the requests of the socket in order, until it closes."""
    s: Services = socket.app.state.services
    await socket.accept()
    client = _Client(socket, s)
    try:
        async with socket.state.stream.while_valid(partial(_tell, socket, client)):
            await SpeechSession(client, s.speech, s.settings.speech, s.settings.limits.socket_idle_secs).run()
    except FluxionsError as error:
        await parted(_refuse(client, error))


async def _tell(socket: WebSocket, client: _Client, error: FluxionsError) -> None:
    """Tell the client at once why its session ends."""
    if is_open(socket):
        await parted(_refuse(client, error))


async def _refuse(client: _Client, error: FluxionsError) -> None:
    """Send the error that ends the session, and close."""
    if not client.is_gone:
        await client.send(error_message(error))
        await client.close(close_code(error), error.code)


class _Client:
    """A `SpeechClient` over a WebSocket."""

    def __init__(self, socket: WebSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self.send_audio = socket.send_bytes

    @property
    def is_gone(self) -> bool:
        return is_gone(self._socket)

    async def receive(self) -> str | bytes | None:
        return await received(self._socket)

    async def send(self, message: dict[str, Any]) -> None:
        await self._socket.send_json(message)

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason or None)

    async def account(self, token: str | None) -> str | None:
        if not token:
            return None
        principal = await self._services.keys.principal(token)
        principal.require("speak")
        self._socket.state.stream.belongs_to(principal)
        return principal.account

    async def admit_anonymous(self, chars: int) -> None:
        host = self._socket.client.host if self._socket.client else None
        await self._services.anonymous.take(host, chars)
