"""Waveforms of recordings, which workers send with the playback copy.

Short recordings of archives and recordings of earlier versions have no stored waveform. For these the first request
computes it from the playback copy and stores it.
"""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from audio.waveform import Peaks, peaks_of, reduced
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import peaks_key
from schemas.domain import Job
from schemas.errors import Conflict, NotFound
from serve.services.stored_sounds import StoredSounds, blocks_of

_RATE_HZ: Final = 8_000
"""Sample rate at which a playback copy is decoded. It suffices for a waveform."""


class Waveforms:
    """The service behind `/transcriptions/{id}/peaks`."""

    def __init__(self, objects: Objects, sounds: StoredSounds) -> None:
        self._objects = objects
        self._sounds = sounds
        self._computing = asyncio.Semaphore(1)

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
        async with self._computing:
            if await self._objects.exists(key):  # another call computed it while this one waited
                return np.frombuffer(await self._objects.get_bytes(key), np.uint8)
            peaks = await self._computed(playback)
            await self._objects.put_bytes(key, peaks.tobytes())
            return peaks

    async def _computed(self, playback: str) -> Peaks:
        async with self._sounds.decoded(playback, _RATE_HZ) as path:
            return await asyncio.to_thread(peaks_of, blocks_of(path, _RATE_HZ), _RATE_HZ)
