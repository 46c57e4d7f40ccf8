"""Stored Ogg Opus copies, decoded again: those of recordings for waveforms, those of renders for other formats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio.decoding.decoder import Decoder
from lakehouse.storage.objects import READ_BYTES, Objects
from runtime.scratch import CLIP, scratch_folder
from schemas.settings import Settings

_BLOCK_SECS = 10


class StoredSounds:
    """Decodes copies in child processes, one at a time, as they are long and nobody waits for them in real time."""

    def __init__(self, settings: Settings, objects: Objects) -> None:
        # A copy is our own, and was within the limits when it was made; its padding may exceed them.
        limits = settings.limits
        self._limits = limits.model_copy(update={"max_audio_secs": limits.max_audio_secs + 1})
        self._scratch = settings.scratch
        self._objects = objects
        self._decoding = asyncio.Semaphore(1)

    @asynccontextmanager
    async def decoded(self, key: str, rate_hz: int) -> AsyncGenerator[Path, None]:
        """The sound of the object ``key`` as a file of raw s16le mono at ``rate_hz``, until the block ends.

        Raises NotFound; InvalidAudio for a copy that is damaged from its start; Unavailable.
        """
        size = await self._objects.size(key)
        async with self._decoding:
            with scratch_folder(self._scratch, CLIP) as folder:
                source, target = folder / "copy", folder / "decoded.s16"
                with source.open("wb", buffering=READ_BYTES) as file:
                    async for chunk in await self._objects.open_range(key, 0, size):
                        await asyncio.to_thread(file.write, chunk)
                async with Decoder(self._limits) as decoder:
                    await decoder.decode(source, target, rate_hz, strict=False)
                yield target


def blocks_of(path: Path, rate_hz: int) -> Iterator[NDArray[np.int16]]:
    """The samples of a file of `StoredSounds.decoded`, ``(num_samples,) int16``, with one block in memory at a time."""
    if not path.stat().st_size:
        return
    samples = np.memmap(path, "<i2", "r")
    block = _BLOCK_SECS * rate_hz
    for start in range(0, samples.size, block):
        yield samples[start : start + block]
