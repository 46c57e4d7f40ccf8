"""Transcription jobs of an account: stores recordings, creates jobs, reads jobs and transcripts."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from lakehouse.history.history import History
from lakehouse.ledger.interface import JobLedger
from lakehouse.ledger.progress import Watched, WatchToken
from lakehouse.storage.objects import Objects, Stored, audio_key
from lakehouse.tables.row_mapping import job_from_row
from schemas.domain import FetchedRecording, Job, JobOptions, JobStatus, NewJob, Seconds, Transcript
from schemas.errors import DamagedObject, NotFound, PayloadTooLarge
from schemas.speech_engines import Engines
from serve.services.job_admission import JobAdmission
from serve.services.recognize_options import check_supported
from serve.services.recording_uploads import recording_bytes

WATCH_SECS: Final = 15.0
"""Longest wait for a change of a job. A stream then sends a comment, because proxies close silent connections."""
_UNDER_WAY: Final = 10_000
NO_BLOCKS: Final = 2**31
"""A block number above that of every recording. A watch from this block on returns no blocks."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A recording that is submitted. ``size_bytes`` is None if it is not known before the body has been read.

    ``filename`` may be empty for a recording that is fetched: then its server names it.
    """

    account: str
    filename: str
    content_type: str
    options: JobOptions
    use_cache: bool = True
    size_bytes: int | None = None
    join: bool = False
    """See `NewJob.join`."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    """See `NewJob.submission`."""
    is_repeated: bool = False
    """See `NewJob.is_repeated`."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as `Transcriptions.follow` sees it; ``first_block`` is the number of the first of its ``watched.blocks``."""

    watched: Watched
    first_block: int


class Transcriptions:
    """The service behind `/submit` and `/transcriptions`."""

    def __init__(
        self,
        jobs: JobLedger,
        history: History,
        objects: Objects,
        engines: Engines,
        engine_revision: str,
        max_upload_bytes: int,
        admission: JobAdmission,
    ) -> None:
        self._admission = admission
        self._jobs = jobs
        self._history = history
        self._objects = objects
        self._engines = engines
        self._engine_revision = engine_revision
        self._max_bytes = max_upload_bytes
        self._under_way: OrderedDict[int, None] = OrderedDict()
        """Jobs that were not final when they were last seen here, oldest first."""

    async def submit(self, submission: Submission, chunks: AsyncIterator[bytes]) -> Job:
        """Store the recording and create its job, which is completed at once if its result is cached.

        Raises InvalidParameter for options that the recogniser does not support, Unavailable while it is loading,
        PayloadTooLarge, StorageFull, InvalidAudio for bytes that are not a recording, and RateLimited before any byte is
        read.
        """
        async with self._admission.admitted(submission.account):
            return await self._submit(submission, chunks)

    async def _submit(self, submission: Submission, chunks: AsyncIterator[bytes]) -> Job:
        await self._check(submission)
        stored, key = await self._stored(submission.account, chunks)
        job = await self._jobs.create(
            replace(
                self._new(submission, submission.filename),
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                audio_key=key,
                join=submission.join,
            )
        )
        self._remember(job)
        return job

    async def expect(self, submission: Submission, filename: str, lease: str) -> Job:
        """Create a job whose recording is being fetched by the holder of ``lease``, who stores it with `store_expected`.

        If the submission is repeated, returns the earlier job, which has another lease. Raises as `submit` does.
        """
        async with self._admission.admitted(submission.account):
            await self._check(submission)
            return await self._jobs.create(replace(self._new(submission, filename), fetch_lease=lease))

    async def store_expected(self, job_id: int, lease: str, chunks: AsyncIterator[bytes]) -> Job:
        """Store the recording of a job from `expect`. The job then waits for a worker, or is completed from the cache.

        Raises Conflict(code="lease_lost") for a job that was cancelled, NotFound for one that was deleted, and as `submit`.
        """
        account = (await self._jobs.leased(job_id, lease)).account
        stored, key = await self._stored(account, chunks)
        return await self._jobs.fetched(
            job_id, lease, FetchedRecording(stored.sha256, stored.size_bytes, key, self._engine_revision)
        )

    async def _check(self, submission: Submission) -> None:
        """Before any byte is read."""
        self._objects.space().check()
        await check_supported(self._engines, submission.options.recognize)
        if (submission.size_bytes or 0) > self._max_bytes:
            raise PayloadTooLarge(
                f"the recording is larger than the {self._max_bytes} bytes accepted here; split it or compress it"
            )

    async def _stored(self, account: str, chunks: AsyncIterator[bytes]) -> tuple[Stored, str]:
        """A recording in its place in the object store, and its key."""
        stored = await self._objects.put_stream(recording_bytes(chunks), limit_bytes=self._max_bytes)
        key = audio_key(account, stored.sha256)
        await self._objects.adopt(stored, key)
        return stored, key

    def _new(self, submission: Submission, filename: str) -> NewJob:
        """The job to be created, without a recording."""
        return NewJob(
            account=submission.account,
            filename=filename,
            content_type=submission.content_type,
            sha256="",
            size_bytes=0,
            audio_key="",
            options=submission.options,
            use_cache=submission.use_cache,
            engine_revision=self._engine_revision,
            submission=submission.name,
            is_repeated=submission.is_repeated,
        )

    async def get(self, account: str, job_id: int) -> Job:
        """Raises NotFound, also for another account's job."""
        row = await self._history.get("transcriptions", account, job_id)
        if row is None:
            raise NotFound(f"there is no transcription {job_id} in your account", param="id")
        return job_from_row(row)

    async def state(self, account: str, job_id: int, wait_secs: Seconds = 0.0) -> Watched:
        """The job as soon as it is final; after ``wait_secs`` as it is then. Raises NotFound.

        A job that is under way is asked of the ledger alone, since clients ask for it again and again.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_secs
        if wait_secs or job_id in self._under_way:
            seen = await self._jobs.watch(account, job_id, NO_BLOCKS, None, 0)
            while not seen.status.is_final and (left := deadline - loop.time()) > 0:
                seen = await self._jobs.watch(account, job_id, NO_BLOCKS, seen.watch_token, left)
        else:
            job = await self.get(account, job_id)
            under_way = None if job.status.is_final else await self._jobs.watch(account, job_id, NO_BLOCKS, None, 0)
            seen = under_way or Watched(job.status, None, job=job)
        self._remember(seen.job)
        return seen

    def _remember(self, job: Job) -> None:
        """Whether the job is under way."""
        self._under_way.pop(job.id, None)
        if not job.status.is_final:
            self._under_way[job.id] = None
            if len(self._under_way) > _UNDER_WAY:
                self._under_way.popitem(last=False)

    async def page(self, account: str, offset: int, limit: int) -> tuple[list[Job], int]:
        """Jobs ``offset`` to ``offset + limit``, newest first, and how many there are in all."""
        found = await self._history.slice("transcriptions", account, offset, limit)
        return [job_from_row(row) for row in found.rows], found.total

    async def transcript(self, job: Job) -> Transcript | None:
        """The result of a completed job; None for any other.

        Raises DamagedObject for a stored result that cannot be parsed.
        """
        if job.status is not JobStatus.COMPLETED or job.result_key is None:
            return None
        stored = await self._objects.get_bytes(job.result_key)
        try:
            return Transcript.from_json(orjson.loads(stored))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedObject(f"the stored result of transcription {job.id} is damaged; submit it again") from error

    async def follow(self, account: str, job_id: int, first_block: int = 0) -> AsyncGenerator[JobView, None]:
        """Views of a job: one at once, one at each change, and one after `WATCH_SECS` without change.

        The last view is final. Each view has the blocks that are new since the view before. Raises NotFound.
        """
        last: WatchToken | None = None
        while True:
            seen = await self._jobs.watch(account, job_id, first_block, last, WATCH_SECS)
            yield JobView(seen, first_block)
            if seen.status.is_final:
                return
            last = seen.watch_token
            first_block += len(seen.blocks)
