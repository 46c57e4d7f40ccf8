"""The speech of a text at a speed that the synthesiser does not have itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from audio.tempo import Tempo
from schemas.domain import SPEECH_RATE_HZ
from schemas.speech import RenderedChunk

Paces: TypeAlias = Callable[[float], tuple[float, float]]
"""A speed as a product: the pace that the engine renders, and the change of tempo applied to its audio."""


def as_rendered(speed: float) -> tuple[float, float]:
    """The paces of a synthesiser that has every speed."""
    return speed, 1.0


async def at_tempo(chunks: AsyncGenerator[RenderedChunk, None], factor: float) -> AsyncGenerator[RenderedChunk, None]:
    """``chunks`` ``factor`` times as fast. The audio of each passage is complete at its end, as before."""
    async with aclosing(chunks):
        if factor == 1.0:
            async for chunk in chunks:
                yield chunk
            return
        tempo = Tempo(factor, SPEECH_RATE_HZ)
        async for chunk in chunks:
            made = tempo.feed(np.frombuffer(chunk.pcm, "<i2"))
            if chunk.ends_passage:
                made = np.concatenate((made, tempo.finish()))
                tempo = Tempo(factor, SPEECH_RATE_HZ)
            yield replace(chunk, pcm=made.astype("<i2").tobytes())
