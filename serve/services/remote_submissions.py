"""Recordings submitted by URL: the job is created once the recording's server has answered, and the job's status shows
the download.

A gateway holds a lease on a job while it fetches the job's recording, as a worker does while it processes a job. If the
gateway dies, the lease expires and the job fails: the URL, which may contain a secret, is stored nowhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Final

from lakehouse.ledger.interface import JobLedger
from lakehouse.ledger.leases import new_lease
from schemas.domain import Job, Seconds
from schemas.errors import Conflict, FluxionsError, NotFound, Unavailable
from schemas.settings import LimitSettings
from serve.account_slots import AccountSlots
from serve.realtime.failures import log_unexpected
from serve.services.remote_recordings import RemoteRecording, opened
from serve.services.transcriptions import Submission, Transcriptions

Count = Callable[[int], Awaitable[None]]
"""Counts bytes that arrive for an account. Raises RateLimited."""
Wrap = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]

_REPORT_SECS: Final[Seconds] = 0.5
_INTERRUPTED: Final = (
    "The download was interrupted, because the server that fetched the recording stopped. Submit it again."
)

logger = logging.getLogger(__name__)


class RemoteSubmissions:
    """Fetches recordings in the background, after their submits have been answered. For one event loop only."""

    def __init__(self, limits: LimitSettings, jobs: JobLedger, transcriptions: Transcriptions) -> None:
        self._limits = limits
        self._jobs = jobs
        self._transcriptions = transcriptions
        self._slots = AccountSlots(limits.uploads_at_once, "downloads")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many recordings are being fetched."""
        return len(self._tasks)

    async def submit(self, submission: Submission, url: str, count: Count, wrap: Wrap) -> Job:
        """The job for the recording behind ``url``, whose bytes pass through ``wrap`` and are counted by ``count``.

        Raises as `remote_recordings.opened` and `Transcriptions.submit` do; Unavailable(code="overloaded") if
        FLUXIONS_UPLOADS_AT_ONCE are being fetched. Later errors fail the job.
        """
        slot = ExitStack()
        slot.enter_context(self._slots.slot(submission.account))
        made: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(submission, url, count, wrap, made), name="fetch of a recording")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: slot.close())
        try:
            return await made
        except asyncio.CancelledError:
            task.cancel()  # the client has gone before there was a job
            raise

    async def close(self) -> None:
        """Cancel all downloads, and fail their jobs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, submission: Submission, url: str, count: Count, wrap: Wrap, made: asyncio.Future[Job]) -> None:
        job, lease = None, new_lease("fetch")
        try:
            async with opened(url, self._limits) as remote:
                declared = remote.size_bytes or 0
                await count(declared)
                job = await self._transcriptions.expect(submission, submission.filename or remote.filename, lease)
                if not made.done():
                    made.set_result(job)
                if job.worker == lease:
                    await self._fetch(job.id, lease, remote, wrap(_counted(remote.chunks(), declared, count)))
        except asyncio.CancelledError:
            if job is not None:
                await self._fail(job, lease, Unavailable(_INTERRUPTED, code="download_interrupted"))
            raise
        except Exception as error:
            known = error if isinstance(error, FluxionsError) else FluxionsError("something broke on our side; try again")
            if known is not error:
                log_unexpected(logger, "the download of a recording", error)
            if job is not None:
                await self._fail(job, lease, known)
            elif not made.done():
                made.set_exception(known)

    async def _fetch(self, job_id: int, lease: str, remote: RemoteRecording, chunks: AsyncIterator[bytes]) -> None:
        """Store the recording while its job's lease is held; nothing more is done once the job was cancelled or deleted."""
        storing = asyncio.create_task(self._transcriptions.store_expected(job_id, lease, chunks))
        holding = asyncio.create_task(self._hold(job_id, lease, remote))
        try:
            await asyncio.wait((storing, holding), return_when=asyncio.FIRST_COMPLETED)
        finally:
            holding.cancel()
            if not storing.done():
                storing.cancel()
            await asyncio.wait((storing, holding))
        if not storing.cancelled():
            storing.result()

    async def _hold(self, job_id: int, lease: str, remote: RemoteRecording) -> None:
        """Renew the lease and report progress, until the lease is lost."""
        while True:
            try:
                await self._jobs.renew(job_id, lease)
                await self._jobs.report(job_id, lease, remote.progress, 0, ())
            except (Conflict, NotFound):
                return
            except Unavailable as error:
                logger.warning("the download of job %d could not be reported: %s", job_id, error.code)
            await asyncio.sleep(_REPORT_SECS)

    async def _fail(self, job: Job, lease: str, error: FluxionsError) -> None:
        """Fail a job that waits for its recording, unless it was cancelled or deleted."""
        with suppress(Conflict, NotFound, Unavailable):  # if the ledger is unavailable, the job's lease expires
            await self._jobs.fail(job.id, lease, error.message, False, error.code)


async def _counted(chunks: AsyncIterator[bytes], declared: int, count: Count) -> AsyncIterator[bytes]:
    """The same bytes; those beyond ``declared`` are counted."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > declared:
            await count(len(chunk))
        yield chunk
