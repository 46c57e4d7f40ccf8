"""Carrying sound over HTTP: complete files, streams, and the end of both when the client goes away."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from audio.encode import MEDIA_TYPES, Encoder, FileEncoder, Format
from schemas.domain import SPEECH_RATE_HZ
from serve.speech import Rendering

T = TypeVar("T")

SPEECH_TYPES: Final[dict[Format, str]] = {**MEDIA_TYPES, "pcm": f"audio/L16; rate={SPEECH_RATE_HZ}; channels=1"}
_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024


class ClientGone(Exception):
    """The client left before it had its answer."""


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result. Raises ClientGone, with ``work`` cancelled and ended, when the client leaves first.

    The request's body must have been read.
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


class SoundResponse(Response):
    """Sends ``sound`` as it comes, and closes it and its source when it is sent or the client has left.

    A generator that never ran closes nothing, hence ``source``.
    """

    def __init__(
        self, sound: AsyncGenerator[bytes, None], source: Rendering, media_type: str, headers: Mapping[str, str]
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
    """Sound as it is made. Its verdict is not known when its headers leave."""
    return SoundResponse(_encoded(rendering, fmt), rendering, SPEECH_TYPES[fmt], _verify_enabled(rendering))


async def complete(rendering: Rendering, fmt: Format) -> SoundResponse:
    """The whole file, on disk where it is long, with its true length and the verdict in its headers."""
    file = cast("IO[bytes]", SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115 - closed when it is sent
    try:
        async with aclosing(rendering):
            encoder = FileEncoder(fmt, SPEECH_RATE_HZ, file)
            async for chunk in rendering:
                await _coding(fmt, encoder.feed, chunk.pcm)
            await asyncio.to_thread(encoder.finish)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    headers = {**_verdict(rendering), "Content-Length": str(size)}
    return SoundResponse(_contents(file), rendering, SPEECH_TYPES[fmt], headers)


async def _encoded(rendering: Rendering, fmt: Format) -> AsyncGenerator[bytes, None]:
    encoder = Encoder(fmt, SPEECH_RATE_HZ)
    async with aclosing(rendering):
        async for chunk in rendering:
            if piece := await _coding(fmt, encoder.feed, chunk.pcm):
                yield piece
    if rest := encoder.finish():
        yield rest


async def _coding(fmt: Format, feed: Any, pcm: bytes) -> Any:
    """What is only copied is fed here; what is compressed, in a thread."""
    samples: NDArray[np.int16] = np.frombuffer(pcm, "<i2")
    return feed(samples) if fmt in ("wav", "pcm") else await asyncio.to_thread(feed, samples)


async def _contents(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        while piece := file.read(_READ_BYTES):
            yield piece
    finally:
        file.close()


def _verify_enabled(rendering: Rendering) -> dict[str, str]:
    return {"X-Verify-Enabled": str(rendering.request.verify).lower()}


def _verdict(rendering: Rendering) -> dict[str, str]:
    tally = rendering.tally
    headers = {
        **_verify_enabled(rendering),
        "X-Audio-Seconds": f"{tally.audio_secs:.3f}",
        "X-Verify-Chunks": str(tally.checked),
        "X-Verify-Retries": str(tally.retries),
        "X-Verify-Failed": str(tally.failed),
    }
    if tally.word_error_rate is not None:
        headers["X-Verify-Word-Error-Rate"] = f"{tally.word_error_rate:.4f}"
    return headers
