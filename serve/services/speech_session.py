"""Renders the requests of one socket in order.

One task reads while another renders, so a disconnect ends the render at once, and the number of waiting requests is
bounded.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from typing import Any, Protocol

from pydantic import ValidationError

from schemas.api.parsing import validation_error
from schemas.api.speech import SpeakMessage, StoredMessage
from schemas.domain import Seconds
from schemas.errors import FluxionsError, InvalidParameter, InvalidRequest, PayloadTooLarge, RateLimited
from schemas.settings import SpeechSettings
from serve.services.render_recorder import RenderStats
from serve.services.speech import Rendering, Speech
from serve.services.spoken_passages import SpokenPassages

logger = logging.getLogger(__name__)


class SpeechClient(Protocol):
    """The client of a session, over some transport."""

    @property
    def is_gone(self) -> bool:
        """Whether the client has disconnected. Sending to a disconnected client raises."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when it has disconnected."""

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message as JSON."""

    async def send_audio(self, pcm: bytes) -> None:
        """Send audio, s16le at 24 kHz mono."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""

    async def account(self, token: str | None) -> str | None:
        """The account of a key or token; None without one. Raises Unauthenticated, Forbidden."""

    async def admit_anonymous(self, chars: int) -> None:
        """Count a render without a key. Raises RateLimited, Unauthenticated where none is allowed."""


class SpeechSession:
    """One client, and its requests that are not answered yet."""

    def __init__(self, client: SpeechClient, speech: Speech, settings: SpeechSettings, idle_secs: Seconds) -> None:
        self._client = client
        self._speech = speech
        self._settings = settings
        self._idle_secs = idle_secs
        self._under_way = 0
        self._requests: asyncio.Queue[SpeakMessage | FluxionsError | None] = asyncio.Queue()
        self._is_closing = False

    async def run(self) -> None:
        """Answer requests until the client ends the session, disconnects, or is silent for too long."""
        speaking = asyncio.create_task(self._speak_all())
        reading = asyncio.create_task(self._read_all())
        try:
            await asyncio.wait((speaking, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.cancelled() and reading.done() and self._is_closing:
                await speaking
        finally:
            speaking.cancel()
            reading.cancel()
            await asyncio.gather(speaking, reading, return_exceptions=True)

    async def _read_all(self) -> None:
        """Read until the client disconnects or sends `session.close`.

        An invalid message is answered after the requests before it.
        """
        while not self._is_closing:
            try:
                message = await self._next()
            except TimeoutError:
                await self._client.close(1001, "nothing was asked for a long time")
                return
            if message is None:
                return
            try:
                request = self._parsed(message)
                if request is not None and self._requests.qsize() >= self._settings.tts_socket_queue:
                    raise RateLimited(f"{self._settings.tts_socket_queue} renders wait already; wait for a `done`")
            except FluxionsError as error:
                # Errors for a client that never reads are bounded too.
                if self._requests.qsize() < 2 * self._settings.tts_socket_queue:
                    self._requests.put_nowait(error)
                continue
            self._is_closing = request is None
            self._requests.put_nowait(request)

    async def _next(self) -> str | bytes | None:
        """The client's next message.

        Raises TimeoutError if the client was silent for too long and no request is unanswered.
        """
        while True:
            try:
                async with asyncio.timeout(self._idle_secs):
                    return await self._client.receive()
            except TimeoutError:
                if not self._under_way and self._requests.empty():
                    raise

    def _parsed(self, message: str | bytes) -> SpeakMessage | None:
        """A `speak`, or None for `session.close`. Raises InvalidRequest, InvalidParameter, PayloadTooLarge."""
        if isinstance(message, bytes):
            raise InvalidRequest("binary messages are not understood here; send JSON text", code="not_text")
        if len(message) > self._settings.tts_socket_message_bytes:
            raise PayloadTooLarge(f"the message is larger than {self._settings.tts_socket_message_bytes} bytes")
        try:
            # The parser that FastAPI uses for bodies: orjson refuses half of a surrogate pair, which the model replaces.
            body = json.loads(message)
        except (ValueError, RecursionError):
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

    async def _speak_all(self) -> None:
        """Answer the requests in order, until `session.close` or a disconnect."""
        while (request := await self._requests.get()) is not None:
            self._under_way += 1
            try:
                await self._answer(request)
            except Exception:
                if self._client.is_gone:
                    return
                raise
            finally:
                self._under_way -= 1
        await self._client.close(1000, "")

    async def _answer(self, request: SpeakMessage | FluxionsError) -> None:
        try:
            if isinstance(request, FluxionsError):
                raise request
            rendering = await self._speak(request)
            await self._client.send({"type": "done", **_verdict(rendering.stats, request)})
            if request.stored:
                await self._client.send(StoredMessage(id=await rendering.row_id()).model_dump())
        except FluxionsError as error:
            await self._refuse(error)
        except Exception as error:
            if self._client.is_gone:
                raise
            logger.exception("unexpected %s on a speech socket", type(error).__name__)
            await self._refuse(FluxionsError("something broke on our side; try again"))

    async def _speak(self, request: SpeakMessage) -> Rendering:
        account = await self._client.account(request.token)
        voice = await self._speech.voice(request.voice, account)
        self._speech.check(request)
        if account is None:
            await self._client.admit_anonymous(len(request.input))
        rendering = await self._speech.start(request, voice, account, streamed=True)
        async with aclosing(rendering):
            await self._client.send({"type": "start"})
            passages = SpokenPassages(rendering.request.text)
            async for chunk in rendering:
                if chunk.pcm:
                    await self._client.send_audio(chunk.pcm)
                ended = passages.add(chunk)
                if ended is not None and request.passages:
                    await self._client.send(ended.model_dump())
        return rendering

    async def _refuse(self, error: FluxionsError) -> None:
        await self._client.send(error_message(error))


def error_message(error: FluxionsError) -> dict[str, Any]:
    """The message for an error."""
    return {"type": "error", "message": error.message, "code": error.code, "param": error.param}


def _verdict(stats: RenderStats, request: SpeakMessage) -> dict[str, Any]:
    return {
        "audio_secs": round(stats.audio_secs, 3),
        "verify": {
            "enabled": request.verify_chunks,
            "chunks": stats.checked,
            "retries": stats.retries,
            "failed": stats.failed,
            "word_error_rate": stats.word_error_rate,
        },
    }
