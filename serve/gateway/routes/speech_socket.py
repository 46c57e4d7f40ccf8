"""`/vui/v1/tts/ws`: many renders over one socket, one after the other.

A task reads while another speaks, so that a client who leaves ends the render at once and cannot pile up work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketState

from schemas.api.speech import SpeakMessage
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest, PayloadTooLarge, RateLimited
from serve.gateway.errors import logger, validation_error
from serve.gateway.services import Services
from serve.keeping import Tally

router = APIRouter(prefix="/vui")


@router.websocket("/v1/tts/ws")
async def speak(socket: WebSocket) -> None:
    await socket.accept()
    session = _Session(socket, socket.app.state.services)
    speaking = asyncio.create_task(session.speak_all())
    reading = asyncio.create_task(session.read_all())
    try:
        await asyncio.wait((speaking, reading), return_when=asyncio.FIRST_COMPLETED)
        if not reading.cancelled() and reading.done() and session.is_closing:
            await speaking
    finally:
        speaking.cancel()
        reading.cancel()
        await asyncio.gather(speaking, reading, return_exceptions=True)


class _Session:
    """One socket: what it asked for and has not heard yet."""

    def __init__(self, socket: WebSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._limits = services.settings.speech
        self._asked: asyncio.Queue[SpeakMessage | FluxionsError | None] = asyncio.Queue()
        self.is_closing = False

    async def read_all(self) -> None:
        """Reads until the client leaves or says `session.close`. A message that cannot be read is answered in its turn."""
        while not self.is_closing:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                ask = self._read(message)
                if ask is not None and self._asked.qsize() >= self._limits.tts_socket_queue:
                    raise RateLimited(f"{self._limits.tts_socket_queue} renders wait already; wait for a `done`")
            except FluxionsError as error:
                # Refusals of a client that never reads must not pile up either.
                if self._asked.qsize() < 2 * self._limits.tts_socket_queue:
                    self._asked.put_nowait(error)
                continue
            self.is_closing = ask is None
            self._asked.put_nowait(ask)

    def _read(self, message: Mapping[str, Any]) -> SpeakMessage | None:
        """A `speak`, or None for `session.close`. Raises InvalidRequest, InvalidParameter, PayloadTooLarge."""
        text = message.get("text")
        if text is None:
            raise InvalidRequest("binary messages are not understood here; send JSON text", code="not_text")
        if len(text) > self._limits.tts_socket_message_bytes:
            raise PayloadTooLarge(f"the message is larger than {self._limits.tts_socket_message_bytes} bytes")
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise InvalidRequest("the message is not JSON; check quotes and commas", code="invalid_json") from None
        if not isinstance(body, dict):
            raise InvalidRequest("the message is not a JSON object", code="invalid_json")
        if body.get("type") == "session.close":
            return None
        if body.get("type") != "speak":
            raise InvalidParameter("type: must be `speak` or `session.close`", param="type")
        try:
            return SpeakMessage.model_validate(body)
        except ValidationError as error:
            raise validation_error(error.errors()) from None

    async def speak_all(self) -> None:
        """Renders what was asked for, in order; ends after `session.close` or when the client is gone."""
        while (ask := await self._asked.get()) is not None:
            try:
                await self._answer(ask)
            except Exception:
                if self._is_gone():
                    return  # nobody is left to tell
                raise
        await self._socket.close()

    async def _answer(self, ask: SpeakMessage | FluxionsError) -> None:
        try:
            if isinstance(ask, FluxionsError):
                raise ask
            tally = await self._speak(ask)
            await self._socket.send_json({"type": "done", **_verdict(tally, ask)})
        except FluxionsError as error:
            await self._refuse(error)
        except Exception as error:
            if self._is_gone():
                raise
            logger.error("unexpected %s on a speech socket", type(error).__name__, exc_info=error)
            await self._refuse(FluxionsError("something broke on our side; try again"))

    def _is_gone(self) -> bool:
        return WebSocketState.DISCONNECTED in (self._socket.client_state, self._socket.application_state)

    async def _speak(self, ask: SpeakMessage) -> Tally:
        s = self._services
        account = (await s.keys.principal(ask.token)).account if ask.token else None
        voice = await s.speech.voice(ask.voice, account)
        s.speech.check(ask)
        if account is None:
            await s.anonymous.take(self._socket.client.host if self._socket.client else None, len(ask.input))
        rendering = await s.speech.start(ask, voice, account, streamed=True)
        async with aclosing(rendering):
            await self._socket.send_json({"type": "start"})
            async for chunk in rendering:
                if chunk.pcm:
                    await self._socket.send_bytes(chunk.pcm)
        return rendering.tally

    async def _refuse(self, error: FluxionsError) -> None:
        body = {"type": "error", "message": error.message, "code": error.code, "param": error.param}
        await self._socket.send_json(body)


def _verdict(tally: Tally, ask: SpeakMessage) -> dict[str, Any]:
    return {
        "audio_secs": round(tally.audio_secs, 3),
        "verify": {
            "enabled": ask.verify_chunks,
            "chunks": tally.checked,
            "retries": tally.retries,
            "failed": tally.failed,
            "word_error_rate": tally.word_error_rate,
        },
    }
