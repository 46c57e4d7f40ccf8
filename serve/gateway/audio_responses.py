"""Audio responses: complete files and streams, both ended when the client disconnects."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from audio.encode import MEDIA_TYPES, Encoder, FileEncoder, Format
from audio.tempo import Tempo
from schemas.domain import SPEECH_RATE_HZ
from serve.services.render_files import IN_MEMORY_BYTES, content_of
from serve.services.speech import Rendering

T = TypeVar("T")

SPEECH_TYPES: Final[dict[Format, str]] = {**MEDIA_TYPES, "pcm": f"audio/L16; rate={SPEECH_RATE_HZ}; channels=1"}
CLIENT_CLOSED: Final = 499
"""Status for a disconnected client; never sent."""


class ClientGone(Exception):
    """The client disconnected before the response was complete."""


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``. If the client disconnects first, cancels ``work``, waits for its end and raises ClientGone.

    The request's body must have been read before.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Source(Protocol):
    async def aclose(self) -> None: ...


class SoundResponse(Response):
    """Sends ``sound`` piece by piece, and closes it when it is sent or the client has disconnected.

    Closing an async generator that was never started skips its ``finally``, so ``source`` is closed explicitly.
    """

    def __init__(
        self, sound: AsyncGenerator[bytes, None], source: _Source, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, 200, dict(headers), media_type)
        if "content-length" not in {name.lower() for name in headers}:
            del self.headers["content-length"]
        self._sound = sound
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source), aclosing(self._sound):
            try:
                await until_gone(receive, self._send(send))
            except ClientGone:
                return

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._sound:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def streamed(rendering: Rendering, fmt: Format) -> SoundResponse:
    """The sound while it is rendered. Verification results are not known when the headers are sent."""
    return SoundResponse(encoded(rendering, fmt), rendering, SPEECH_TYPES[fmt], _verify_enabled(rendering))


async def complete(rendering: Rendering, fmt: Format, tempo: float = 1.0) -> SoundResponse:
    """The whole file, on disk if it is long, with its length and the verification results in the headers.

    ``tempo``: how much faster the sound is made after it was rendered.
    """
    file = cast("IO[bytes]", SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))  # noqa: SIM115 - closed when it is sent
    try:
        async with aclosing(rendering):
            encoder = FileEncoder(fmt, SPEECH_RATE_HZ, file)
            async for pcm in _sound(rendering, tempo):
                await _coding(fmt, encoder.feed, pcm)
            await asyncio.to_thread(encoder.finish)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    headers = {**_verdict(rendering, tempo), "Content-Length": str(size)}
    return SoundResponse(content_of(file), rendering, SPEECH_TYPES[fmt], headers)


async def encoded(rendering: Rendering, fmt: Format, tempo: float = 1.0) -> AsyncGenerator[bytes, None]:
    """The sound in pieces of ``fmt`` as it is rendered; closes ``rendering`` at its end. ``tempo`` as for `complete`."""
    encoder = Encoder(fmt, SPEECH_RATE_HZ)
    async with aclosing(rendering):
        async for pcm in _sound(rendering, tempo):
            if piece := await _coding(fmt, encoder.feed, pcm):
                yield piece
    if rest := encoder.finish():
        yield rest


async def _sound(rendering: Rendering, tempo: float) -> AsyncGenerator[NDArray[np.int16], None]:
    """``(num_samples,) int16`` at 24 kHz mono, chunk by chunk."""
    if tempo == 1:
        async for chunk in rendering:
            yield np.frombuffer(chunk.pcm, "<i2")
        return
    stretched = Tempo(tempo, SPEECH_RATE_HZ)
    async for chunk in rendering:
        yield await asyncio.to_thread(stretched.feed, np.frombuffer(chunk.pcm, "<i2"))
    yield stretched.finish()


async def _coding(fmt: Format, feed: Any, samples: NDArray[np.int16]) -> Any:
    """Feed the encoder; formats that compress do so in a thread."""
    return feed(samples) if fmt in ("wav", "pcm") else await asyncio.to_thread(feed, samples)


def _verify_enabled(rendering: Rendering) -> dict[str, str]:
    return {"X-Verify-Enabled": str(rendering.request.verify).lower()}


def _verdict(rendering: Rendering, tempo: float) -> dict[str, str]:
    stats = rendering.stats
    headers = {
        **_verify_enabled(rendering),
        "X-Audio-Seconds": f"{stats.audio_secs / tempo:.3f}",
        "X-Verify-Chunks": str(stats.checked),
        "X-Verify-Retries": str(stats.retries),
        "X-Verify-Failed": str(stats.failed),
    }
    if stats.word_error_rate is not None:
        headers["X-Verify-Word-Error-Rate"] = f"{stats.word_error_rate:.4f}"
    return headers
