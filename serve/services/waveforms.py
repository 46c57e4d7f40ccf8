"""Waveforms of recordings, which workers send with the playback copy.

Short recordings of archives and recordings of earlier versions have no stored waveform. For these the first request
computes it from the playback copy and stores it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import numpy as np

from audio.decoding.decoder import Decoder
from audio.waveform import BLOCK_SECS, Peaks, peaks_of, reduced
from lakehouse.storage.objects import READ_BYTES, Objects
from lakehouse.storage.result_objects import peaks_key
from runtime.scratch import CLIP, scratch_folder
from schemas.domain import Job
from schemas.errors import Conflict, NotFound
from schemas.settings import Settings

_RATE_HZ: Final = 8_000
"""Sample rate at which a playback copy is decoded. It suffices for a waveform."""


class Waveforms:
    """The service behind `/transcriptions/{id}/peaks`."""

    def __init__(self, settings: Settings, objects: Objects) -> None:
        # The playback copy is our own, and was within the limits when it was made; its padding may exceed them.
        limits = settings.limits
        self._limits = limits.model_copy(update={"max_audio_secs": limits.max_audio_secs + 1})
        self._scratch = settings.scratch
        self._objects = objects
        self._decoding = asyncio.Semaphore(1)

    async def peaks(self, job: Job, most: int) -> Peaks:
        """At most ``most`` points. Raises Conflict while there is no playback copy, NotFound where there will be none."""
        if job.playback_key is None:
            if job.status.is_final:
                raise NotFound(f"transcription {job.id} has no recording to show", code="no_recording", param="id")
            raise Conflict(
                f"transcription {job.id} is {job.status.value}; it has no playback copy yet", code="not_completed"
            )
        return reduced(await self._stored(job.playback_key), most)

    async def _stored(self, playback: str) -> Peaks:
        key = peaks_key(playback)
        try:
            return np.frombuffer(await self._objects.get_bytes(key), np.uint8)
        except NotFound:
            pass
        async with self._decoding:
            if await self._objects.exists(key):  # another call computed it while this one waited
                return np.frombuffer(await self._objects.get_bytes(key), np.uint8)
            peaks = await self._computed(playback)
            await self._objects.put_bytes(key, peaks.tobytes())
            return peaks

    async def _computed(self, playback: str) -> Peaks:
        size = await self._objects.size(playback)
        with scratch_folder(self._scratch, CLIP) as folder:
            source, target = folder / "playback", folder / "decoded.s16"
            chunks = await self._objects.open_range(playback, 0, size)
            with source.open("wb", buffering=READ_BYTES) as file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            async with Decoder(self._limits) as decoder:
                await decoder.decode(source, target, _RATE_HZ, strict=False)
            return await asyncio.to_thread(_decoded_peaks, target)


def _decoded_peaks(path: Path) -> Peaks:
    """Peaks of a file of s16le mono at `_RATE_HZ`, of which a block at a time is in memory."""
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    samples = np.memmap(path, "<i2", "r")
    block = BLOCK_SECS * _RATE_HZ
    return peaks_of((samples[start : start + block] for start in range(0, samples.size, block)), _RATE_HZ)
