"""Decodes the bytes of a live stream to samples at 16 kHz: linear PCM at usual rates, G.711, and Opus in Ogg or WebM."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

import numpy as np

from audio import g711
from audio.decoding.protocol import CONTAINERS, MAGIC_BYTES
from audio.pcm import to_float
from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidParameter

LiveEncoding: TypeAlias = Literal["linear16", "mulaw", "alaw", "opus", "detect"]
"""`opus` is Ogg or WebM, which have the rate in a header; `detect` chooses between `opus` and `linear16` by the first
bytes.
"""
RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_LAWS: Final[dict[str, g711.Law]] = {"mulaw": "mu", "alaw": "a"}


class StreamDecoder(Protocol):
    """Decodes one stream in pieces, which may be cut anywhere. `ContainerStream` is the decoder for Opus."""

    async def feed(self, data: bytes) -> Samples:
        """The samples that ``data`` completes, ``(num_samples,) float32`` at 16 kHz. Raises InvalidAudio, Unavailable."""
        ...

    async def finish(self) -> Samples:
        """The remaining samples. Raises as `feed`."""
        ...

    async def close(self) -> None:
        """Release what the decoder holds."""
        ...


class PcmDecoder:
    """A `StreamDecoder` of one channel; an incomplete sample at the end of a piece is kept for the next."""

    def __init__(self, encoding: LiveEncoding, rate_hz: int) -> None:
        """Raises InvalidParameter for a rate that is not one of `RATES_HZ`."""
        if rate_hz not in RATES_HZ:
            raise InvalidParameter(
                f"sample_rate: {rate_hz} is none of {', '.join(map(str, RATES_HZ))}", param="sample_rate"
            )
        self._encoding = encoding
        self._rate_hz = rate_hz
        self._resampler = Resampler(SAMPLE_RATE_HZ)
        self._half = b""

    async def feed(self, data: bytes) -> Samples:
        """See `StreamDecoder.feed`."""
        if self._encoding in _LAWS:
            samples = to_float(g711.decode(data, _LAWS[self._encoding]))
        else:
            whole = self._half + data
            end = len(whole) // 2 * 2
            self._half = whole[end:]
            samples = to_float(np.frombuffer(whole[:end], "<i2"))
        if self._rate_hz == SAMPLE_RATE_HZ:
            return samples
        return self._resampler.feed(samples, self._rate_hz)

    async def finish(self) -> Samples:
        """See `StreamDecoder.finish`."""
        return self._resampler.finish()

    async def close(self) -> None:
        """See `StreamDecoder.close`."""


class DetectingDecoder:
    """A `StreamDecoder` that detects Ogg, WebM or raw samples by the first bytes."""

    def __init__(self, container: StreamDecoder, samples: StreamDecoder) -> None:
        self._container = container
        self._samples = samples
        self._chosen: StreamDecoder | None = None
        self._head = b""

    async def feed(self, data: bytes) -> Samples:
        """See `StreamDecoder.feed`."""
        if self._chosen is None:
            self._head += data
            if len(self._head) < MAGIC_BYTES:
                return np.zeros(0, np.float32)
            self._chosen = self._container if self._head[:MAGIC_BYTES] in CONTAINERS else self._samples
            data, self._head = self._head, b""
        return await self._chosen.feed(data)

    async def finish(self) -> Samples:
        """See `StreamDecoder.finish`."""
        return await (self._chosen or self._samples).finish()

    async def close(self) -> None:
        """See `StreamDecoder.close`."""
        await self._container.close()
