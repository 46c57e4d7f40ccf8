"""One batch of an archive: its files are fetched, begun in the ledger, transcribed by the engines, and reported.

Every step may be repeated. The ledger knows a file by its key and content, so a batch that runs again, here or on another
machine, finds what was finished, and still holds the leases that were given under its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clients.archives import ArchiveClient
from clients.operator import ClaimedJob, is_lease_over
from flows.archives.batch_spec import BatchSpec
from flows.archives.file_fetcher import FetchedFile, FileFetcher
from flows.progress import Reporter
from flows.transcription import pipeline
from flows.transcription.context import PipelineContext
from schemas.archives import BATCH_FILES, BeginState, EndedFile, FileFailure, FileStatus
from schemas.domain import Seconds, Transcript
from schemas.errors import DamagedObject, FluxionsError, InvalidParameter, InvalidRequest, first_error
from schemas.settings import Settings

_BEGIN_FILES = 25
"""Files begun with one call; the ledger needs no more commits for them than for one file. The next are fetched
meanwhile."""
_REPORT_FILES = 20
"""Finished files reported with one call. A worker that dies loses at most these and those it was transcribing."""
_HEARTBEAT_SECS: Seconds = 1.0
_REPORT_AFTER_SECS: Seconds = 2.0
"""Longest time a finished file waits for others to be reported with it."""
_PROGRESS_AFTER_SECS: Seconds = 5.0
"""Progress is reported only of files that take longer than this."""
_LONGEST_PAUSE_SECS: Seconds = 15.0
_RELEASE_SECS: Seconds = 5.0
_OWN_BUG = "the recording could not be processed; the worker's log says more"

logger = logging.getLogger(__name__)


@dataclass
class _RunningFile:
    """A leased file that is being transcribed."""

    file: FetchedFile
    job: ClaimedJob
    reporter: Reporter
    task: asyncio.Task[Transcript | FileFailure | None]
    began: float = field(default_factory=time.monotonic)


class Batch:
    """``await Batch(...).run()`` settles every file of a batch, or raises."""

    def __init__(
        self, spec: BatchSpec, context: PipelineContext, client: ArchiveClient, settings: Settings, scratch: Path
    ) -> None:
        self._spec = spec
        self._context = context
        self._client = client
        self._at_once = settings.archives.archive_files_at_once
        self._scratch = scratch
        self._fetcher = FileFetcher(spec, client, scratch, settings.limits.max_upload_bytes)
        self._leased: dict[int, tuple[FetchedFile, ClaimedJob]] = {}
        """Leased files whose end is not reported yet, by job id."""
        self._running: dict[int, _RunningFile] = {}
        self._ended: list[EndedFile] = []
        self._ended_since = 0.0
        self._unsettled: list[FetchedFile] = []
        self._pause_secs: Seconds = 0.0
        self._reporting = asyncio.Lock()

    async def run(self) -> None:
        """Work until every file is settled. Raises Conflict(code="archive_ended") if the run was cancelled."""
        todo: list[FetchedFile] | None = None
        pause: Seconds = 1.0
        try:
            while todo is None or todo:
                await self._round(todo)
                todo, self._unsettled = self._unsettled, []
                if todo:
                    await asyncio.sleep(max(pause, self._pause_secs))
                    pause, self._pause_secs = min(pause * 2, _LONGEST_PAUSE_SECS), 0.0
        finally:
            await self._release_all()

    async def _round(self, todo: Sequence[FetchedFile] | None) -> None:
        """One pass over ``todo``, files that were fetched before, or over the whole batch if None."""
        queue: asyncio.Queue[tuple[FetchedFile, ClaimedJob] | None] = asyncio.Queue(self._at_once)
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._heartbeat())
            slots = [group.create_task(self._worker_slot(queue)) for _ in range(self._at_once)]
            portions = self._fetcher.portions(_BEGIN_FILES) if todo is None else _portions(todo)
            async for portion in portions:
                for leased in await self._begin(portion):
                    await queue.put(leased)
            for _ in slots:
                await queue.put(None)
            await asyncio.wait(slots)
            await self._report_finished()
            heartbeat.cancel()

    async def _begin(self, portion: Sequence[FetchedFile]) -> list[tuple[FetchedFile, ClaimedJob]]:
        """Lease the files of ``portion``. Those not returned are done, held by others, or could not be uploaded."""
        leased = []
        for _ in range(2):
            needing = []
            answers = await self._client.begin(
                self._spec.archive_id,
                self._spec.worker,
                [file.source for file in portion],
                retry_failed=self._spec.retry_failed,
            )
            for file, begun in zip(portion, answers, strict=True):
                if begun.job is not None:
                    self._leased[begun.job.id] = (file, begun.job)
                    leased.append((file, begun.job))
                elif begun.state is BeginState.NEEDS_BYTES:
                    needing.append(file)
                elif begun.state is BeginState.HELD:
                    self._unsettled.append(file)
                    self._pause_secs = max(self._pause_secs, begun.retry_after_secs or 0.0)
                else:
                    file.delete_copy()
            portion = await self._fetcher.send(needing)
            if not portion:
                break
        return leased

    async def _worker_slot(self, queue: asyncio.Queue[tuple[FetchedFile, ClaimedJob] | None]) -> None:
        while (leased := await queue.get()) is not None:
            file, job = leased
            if job.id not in self._leased:
                continue  # Its lease was lost while it waited in the queue.
            reporter = Reporter(self._client, job)
            task = asyncio.create_task(self._transcribe(file, job, reporter))
            self._running[job.id] = _RunningFile(file, job, reporter, task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                del self._running[job.id]
            result = None if task.cancelled() else task.result()
            playback = self._client.playback(job.lease)
            if result is None:
                self._leased.pop(job.id, None)
                self._unsettled.append(file)
            else:
                copy = playback if isinstance(result, Transcript) else b""
                await self._end(EndedFile(job.id, job.lease, result, copy))

    async def _transcribe(self, file: FetchedFile, job: ClaimedJob, reporter: Reporter) -> Transcript | FileFailure | None:
        """The transcript, or why there is none; None if the lease was lost."""
        result: Transcript | FileFailure | None = None
        with _folder(self._scratch, job.id) as folder:
            try:
                # A renewal with work begun starts the attempt, before anything in the file can end this process.
                if await self._client.renew_files(self._spec.archive_id, {job.id: job.lease}):
                    return None
                source = file.path
                if source is None or not source.exists():
                    # The source is not readable here, or an earlier attempt deleted the copy: the gateway has the bytes.
                    source = folder / "source"
                    await self._client.fetch_audio(job, source)
                result = await pipeline.transcribe_file(self._context, job, source, folder, reporter)
            except* FluxionsError as group:
                error = first_error(group)
                if not is_lease_over(error):
                    refused = isinstance(error, InvalidRequest | InvalidParameter | DamagedObject)
                    result = FileFailure(error.code, error.message, retryable=not refused)
            except* Exception:
                logger.exception("job %d: unexpected failure", job.id)
                result = FileFailure("internal_error", _OWN_BUG, retryable=True)
        return result

    async def _end(self, ended: EndedFile) -> None:
        if not self._ended:
            self._ended_since = time.monotonic()
        self._ended.append(ended)
        if len(self._ended) >= _REPORT_FILES:
            await self._report_finished()

    async def _report_finished(self) -> None:
        async with self._reporting:
            while portion := self._ended[:_REPORT_FILES]:
                outcomes = await self._client.finish(self._spec.archive_id, portion)
                del self._ended[: len(portion)]
                for outcome in outcomes:
                    file, _ = self._leased.pop(outcome.job_id)
                    if outcome.status is FileStatus.WAITING or outcome.error is not None:
                        self._unsettled.append(file)  # It is tried again, or held by another worker: begin tells which.
                    else:
                        file.delete_copy()

    async def _heartbeat(self) -> None:
        """Renew leases, report progress of long files, and report finished files that have waited."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(_HEARTBEAT_SECS)
            now = time.monotonic()
            lease_secs = min((job.lease_secs for _, job in self._leased.values()), default=None)
            try:
                if lease_secs is not None and now - renewed >= lease_secs / 3:
                    renewed = now
                    await self._renew()
                for running in list(self._running.values()):
                    if now - running.began >= _PROGRESS_AFTER_SECS:
                        await self._report_progress(running)
                if self._ended and now - self._ended_since >= _REPORT_AFTER_SECS:
                    await self._report_finished()
            except FluxionsError as error:
                logger.warning("archive %d: cannot renew its leases: %s", self._spec.archive_id, error.message)

    async def _report_progress(self, running: _RunningFile) -> None:
        try:
            await running.reporter.flush()
        except FluxionsError as error:
            if not is_lease_over(error):
                raise
            running.task.cancel()

    async def _renew(self) -> None:
        leases = {job.id: job.lease for _, job in self._leased.values()}
        waiting = leases.keys() - self._running.keys() - {one.job_id for one in self._ended}
        for some in _pieces(leases):
            for job_id in await self._client.renew_files(self._spec.archive_id, some, waiting):
                if job_id in self._running:
                    self._running[job_id].task.cancel()
                elif job_id in self._leased and all(one.job_id != job_id for one in self._ended):
                    # It waits for a worker slot, which will skip it.
                    self._unsettled.append(self._leased.pop(job_id)[0])

    async def _release_all(self) -> None:
        """Report what was finished and release the rest, so that nobody has to wait until the leases expire."""
        if not self._leased:
            return
        with contextlib.suppress(FluxionsError, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECS):
                await self._report_finished()
                for some in _pieces({job.id: job.lease for _, job in self._leased.values()}):
                    await self._client.release_files(self._spec.archive_id, some)


async def _portions(todo: Sequence[FetchedFile]) -> AsyncIterator[list[FetchedFile]]:
    for at in range(0, len(todo), _BEGIN_FILES):
        yield list(todo[at : at + _BEGIN_FILES])


def _pieces(leases: dict[int, str]) -> list[dict[int, str]]:
    rows = list(leases.items())
    return [dict(rows[at : at + BATCH_FILES]) for at in range(0, len(rows), BATCH_FILES)]


@contextlib.contextmanager
def _folder(scratch: Path, job_id: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"job-{job_id}-", dir=scratch) as folder:
        yield Path(folder)
