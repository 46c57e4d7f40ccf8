"""Decodes a live stream of Opus in Ogg or WebM, as browsers record it, in a child process with limits."""

from __future__ import annotations

import asyncio

import numpy as np

from audio.decoding.decoder import Decoder
from audio.decoding.fork_client import DecodingChild
from audio.decoding.protocol import Refusal
from audio.pcm import to_float
from schemas.domain import Seconds
from schemas.engines import Samples
from schemas.errors import InvalidAudio, Unavailable


class ContainerStream:
    """One stream. Feed it the bytes as they arrive; they may be cut anywhere. `close` ends the child."""

    def __init__(self, decoder: Decoder, answer_secs: Seconds) -> None:
        """``answer_secs``: longest time for one piece."""
        self._decoder = decoder
        self._answer_secs = answer_secs
        self._child: DecodingChild | None = None

    async def feed(self, data: bytes) -> Samples:
        """The samples that ``data`` completes, ``(num_samples,) float32`` at 16 kHz.

        Raises InvalidAudio with a code of not_audio, unreadable_audio, no_audio_track, too_many_channels or decode_limit;
        Unavailable if this machine cannot decode now.
        """
        return await self._decoded(data, last=False)

    async def finish(self) -> Samples:
        """The remaining samples. Raises as `feed`."""
        return await self._decoded(b"", last=True)

    async def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def _decoded(self, data: bytes, *, last: bool) -> Samples:
        if self._child is None:
            self._child = await self._decoder.open_stream()
        try:
            async with asyncio.timeout(self._answer_secs):
                answer = await self._child.feed(data, last=last)
        except TimeoutError:
            answer = Refusal(f"a message of the stream took longer than {self._answer_secs:g} s to decode", "decode_limit")
        if not isinstance(answer, Refusal):
            return to_float(np.frombuffer(answer, "<i2"))
        if answer.code is None:
            raise Unavailable(answer.message)
        raise InvalidAudio(answer.message, code=answer.code)
