"""The data of a job that the lease's holder fetches and stores: the recording, the playback copy, the transcript."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from lakehouse.ledger.interface import JobLedger
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, peaks_key, playback_key, put_result, result_keys
from schemas.domain import Job, Outcome, Transcript
from schemas.errors import Conflict, NotFound, Unavailable
from serve.services.transcriptions import NO_BLOCKS

_KNOWN_LEASES: Final = 1000


class JobResults:
    """Every method raises Conflict(code="lease_lost") if the lease is not valid any more."""

    def __init__(self, jobs: JobLedger, objects: Objects, max_upload_bytes: int) -> None:
        self._jobs = jobs
        self._objects = objects
        self._max_bytes = max_upload_bytes
        self._known: OrderedDict[tuple[int, str], Job] = OrderedDict()
        """Jobs by id and lease, as they were under the lease; whether it is still valid, the ledger knows alone."""

    async def small_recording(self, job: Job, most_bytes: int) -> bytes:
        """The recording of a claimed job; nothing if it is larger or cannot be read, which `recording` then reports.

        It is no use of the lease, for the answer to a claim may be lost.
        """
        if job.size_bytes > most_bytes:
            return b""
        try:
            return await self._objects.get_bytes(job.audio_key)
        except (NotFound, Unavailable):
            return b""

    async def recording(self, job_id: int, lease: str) -> tuple[AsyncIterator[bytes], int]:
        """The recording as the client sent it, and its size in bytes."""
        job = await self._leased(job_id, lease)
        size = await self._objects.size(job.audio_key)
        return await self._objects.open_range(job.audio_key, 0, size), size

    async def store_playback(self, job_id: int, lease: str, chunks: AsyncIterator[bytes]) -> None:
        """Store the playback copy (Ogg Opus). That of an archive's file is flushed to the disk when its batch ends."""
        job = await self._leased(job_id, lease)
        stored = await self._objects.put_stream(chunks, limit_bytes=self._max_bytes)
        await self._objects.adopt(stored, playback_key(job), durably=job.archive_id is None)

    async def store_peaks(self, job_id: int, lease: str, peaks: bytes) -> None:
        """Store the waveform of the playback copy, unless it is already stored: the same recording has the same
        waveform.
        """
        job = await self._leased(job_id, lease)
        await self._objects.put_new(peaks_key(playback_key(job)), peaks)

    async def complete(self, job_id: int, lease: str, transcript: Transcript) -> Job:
        """Write the result object, then record the job as completed."""
        # A lease that was lost meanwhile is refused below, and what was written is removed.
        job = self._known.get((job_id, lease)) or await self._leased(job_id, lease)
        result_key, playback = lease_key(job, lease), playback_key(job)
        is_again, has_playback = await asyncio.gather(*map(self._objects.exists, (result_key, playback)))
        await put_result(self._objects, result_key, transcript)
        outcome = Outcome.of(transcript, result_key, playback if has_playback else None)
        try:
            done = await self._jobs.complete(job_id, lease, outcome, transcript)
        except (Conflict, NotFound):
            # A result that was written before may have been recorded, and answer for other jobs from the cache.
            if not is_again and not await has_result(self._jobs, job, result_key):
                for key in result_keys(result_key):
                    await self._objects.delete(key)
            raise
        self._known.pop((job_id, lease), None)
        return done

    async def _leased(self, job_id: int, lease: str) -> Job:
        job = await self._jobs.leased(job_id, lease)
        self._known[job_id, lease] = job
        if len(self._known) > _KNOWN_LEASES:
            self._known.popitem(last=False)
        return job


async def has_result(jobs: JobLedger, job: Job, key: str) -> bool:
    """Whether ``key``, written under a lease that is lost, may be the result of ``job``: the lease may have been lost after
    the result was recorded. What no job has must not stay in the store, above all if the job was deleted or cancelled.
    """
    try:
        found = (await jobs.watch(job.account, job.id, NO_BLOCKS, None, 0)).job
    except NotFound:
        return False
    return found.result_key == key or found.revision > job.revision
