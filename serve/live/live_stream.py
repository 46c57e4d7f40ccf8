"""Runs one live stream: messages to the listener, results to the client, and the record of both."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from schemas.domain import Seconds
from schemas.engines import Samples
from schemas.errors import FluxionsError, InvalidRequest
from serve.live.audio_rules import AudioCheck
from serve.live.listener import Listener
from serve.live.live_events import FinalResult
from serve.live.live_protocol import LiveProtocol, LiveRequest, Message
from serve.live.recorder import LiveRecorder
from serve.live.stream_decoder import StreamDecoder
from telemetry.metrics import AUDIO

T = TypeVar("T")

Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""Sends one message as JSON. Raises ClientLeft, or whatever the transport raises when the client has disconnected."""
Receive: TypeAlias = Callable[[], Awaitable[str | bytes | None]]
"""The next message; None when the client has disconnected."""


class ClientLeft(Exception):
    """The client disconnected before it had ended the stream."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one stream."""

    idle_secs: Seconds
    """Longest time between two messages of the client."""
    audio_secs: Seconds
    """Longest audio of a stream."""
    message_bytes: int
    """Largest binary message."""


async def next_message(receive: Receive, idle_secs: Seconds) -> str | bytes:
    """The client's next message. Raises ClientLeft, and InvalidRequest(code="idle_timeout") after ``idle_secs``."""
    try:
        async with asyncio.timeout(idle_secs):
            message = await receive()
    except TimeoutError:
        raise InvalidRequest(f"nothing came for {idle_secs:g} s", code="idle_timeout") from None
    if message is None:
        raise ClientLeft
    return message


class LiveStream:
    """One stream, from its first audio to its end."""

    def __init__(
        self,
        protocol: LiveProtocol,
        request: LiveRequest,
        decoder: StreamDecoder,
        listener: Listener,
        recorder: LiveRecorder,
        limits: StreamLimits,
        unfinished: set[asyncio.Task[Any]],
    ) -> None:
        self._protocol = protocol
        self._request = request
        self._decoder = decoder
        self._listener = listener
        self._recorder = recorder
        self._limits = limits
        self._unfinished = unfinished
        """Records that are being written; they outlive their sockets."""
        self._check = AudioCheck(request.rules, time.monotonic()) if request.rules is not None else None

    async def run(self, send: Send, receive: Receive) -> None:
        """Transcribe until the client ends the stream. Results are recorded, no matter how the stream ends.

        Raises ClientLeft, InvalidRequest for a message that breaks the protocol or a limit, and the error of a recogniser
        that failed.
        """
        sending = asyncio.create_task(self._send_results(send), name="live results")
        try:
            for message in self._protocol.opened(f"live_{uuid.uuid4().hex}"):
                await send(message)
            await _unless_failed(sending, self._read_all(send, receive))
            await self._listener.finish()
            await sending
        except BaseException as error:
            sending.cancel()
            # Ray Serve cancels the tasks of a socket as soon as the socket is closed, by either side.
            is_cut = isinstance(error, ClientLeft | asyncio.CancelledError)
            await self._outlived(self._record_rest(recognize=is_cut))
            raise
        finally:
            await self._decoder.close()
        job_id = await self._outlived(self._record())
        for message in self._protocol.closed(self._listener.audio_secs, job_id):
            await send(message)

    async def _read_all(self, send: Send, receive: Receive) -> None:
        """Pass messages to the listener until the client ends the stream. Raises as `run` does."""
        while True:
            message = await self._next_message(receive)
            if isinstance(message, bytes):
                await self._take_audio(message)
                continue
            command = self._protocol.command(message)
            if command.kind == "close":
                return self._add_samples(await self._decoder.finish())
            if command.options is not None:
                self._listener.configure(command.options)
            if command.kind == "finalize":
                spoken = await self._listener.finalize()
                for answer in self._protocol.finalized(spoken=spoken):
                    await send(answer)

    async def _next_message(self, receive: Receive) -> str | bytes:
        if self._check is None:
            return await next_message(receive, self._limits.idle_secs)
        left_secs = self._check.left_secs(time.monotonic())
        try:
            return await next_message(receive, min(self._limits.idle_secs, left_secs))
        except InvalidRequest:
            self._check.left_secs(time.monotonic())  # names the session's end, if that is why nothing more is waited for
            raise

    async def _take_audio(self, data: bytes) -> None:
        if self._check is not None:
            self._check.message(len(data))
        if len(data) > self._limits.message_bytes:
            raise InvalidRequest(f"a message has at most {self._limits.message_bytes} bytes", code="message_too_large")
        self._add_samples(await self._decoder.feed(data))

    def _add_samples(self, samples: Samples) -> None:
        self._recorder.add_audio(samples)
        self._listener.feed(samples)
        if self._listener.audio_secs > self._limits.audio_secs:
            raise InvalidRequest("the stream is longer than a recording may be", code="too_long")
        if self._check is not None:
            self._check.pace(self._listener.audio_secs, time.monotonic())

    async def _send_results(self, send: Send) -> None:
        """Send results. Raises the error of a recogniser that failed."""
        while (event := await self._listener.events.get()) is not None:
            if isinstance(event, FluxionsError):
                raise event
            if isinstance(event, FinalResult):
                self._recorder.add_result(event)
            for message in self._protocol.recognized(event):
                await send(message)

    async def _outlived(self, recording: Coroutine[Any, Any, T]) -> T:
        """The result of ``recording``, a task that continues when this stream's socket is closed."""
        task = asyncio.create_task(recording, name="live record")
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    async def _record_rest(self, *, recognize: bool) -> None:
        """Record a stream that the client did not end; with ``recognize`` including the current utterance."""
        if recognize:
            await self._listener.finish()
        await self._listener.abort()
        while not self._listener.events.empty():
            event = self._listener.events.get_nowait()
            if isinstance(event, FinalResult):
                self._recorder.add_result(event)
        await self._record()

    async def _record(self) -> int | None:
        AUDIO.labels("in", "live").inc(self._listener.audio_secs)
        request = self._request
        return await self._recorder.finish(self._listener.audio_secs, request.options.recognize, request.name)


async def _unless_failed(other: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``, but if ``other`` fails meanwhile, cancel ``work`` and raise that error."""
    task = asyncio.create_task(work, name="live messages")
    try:
        await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
        if other.done():
            other.result()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
