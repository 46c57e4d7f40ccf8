"""The parent of an archive's batches: reads the source, keeps batches running, notices a cancellation, ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture

from clients.archives import ArchiveClient
from flows.archives import prefect_artifacts
from flows.archives.batch_spec import BatchSpec, begun_file, noted_problem, selected_file
from flows.archives.batch_task import work_batch
from flows.archives.cluster import stop_batches
from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.factory import batches, open_source
from schemas.archives import (
    BATCH_FILES,
    Archive,
    ArchiveKind,
    ArchiveStatus,
    EndedFile,
    FileFailure,
    FileStatus,
    SourceFile,
)
from schemas.domain import Seconds
from schemas.errors import Conflict, FluxionsError, Unavailable
from schemas.settings import Settings

_POLL_SECS: Seconds = 2.0
"""Time between two checks of the run's status and progress."""
_RELEASE_SECS: Seconds = 15.0
_BATCHES_PER_THREAD = 20
"""Batches grow until each Dask thread has had this many, because a task costs as much as several short files."""

logger = logging.getLogger(__name__)


@dataclass
class ArchiveCoordinator:
    """One run of an archive's flow; `run` works until the archive has ended."""

    client: ArchiveClient
    settings: Settings
    archive: Archive
    retry_failed: bool
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    failed: list[BaseException] = field(default_factory=list)
    seen: int = 0
    threads: int = 1
    """Of all Dask workers, when last asked."""

    async def run(self) -> None:
        """Raises Unavailable if batches failed: their files are left for the next run."""
        cancelled = asyncio.create_task(self._watch())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({work, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if cancelled.done() and not cancelled.cancelled():
                work.cancel()
                cancelled.result()
            await asyncio.wait({work})
            if not work.cancelled():
                work.result()
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            cancelled.cancel()
            if self.running:
                await self._stop()

    async def _work(self) -> None:
        try:
            await self._submit_all()
        except Conflict as error:
            if error.code != "archive_ended":
                raise
            logger.info("archive %d: the run has ended", self.archive.id)
            return
        except FluxionsError as error:
            # The source failed or the gateway is away. Batches that were submitted before are finished.
            await asyncio.gather(*self.running)
            if not error.retryable:
                await self.client.end_archive(self.archive.id, ArchiveStatus.FAILED, error.message)
            raise
        except Exception as error:
            # A defect of ours ends the run as well: nobody would ever end it.
            await asyncio.gather(*self.running)
            message = f"the run failed: {type(error).__name__}; see the log"
            await self.client.end_archive(self.archive.id, ArchiveStatus.FAILED, message)
            raise
        if self.failed:
            raise Unavailable(
                f"{len(self.failed)} batches could not be worked on ({self.failed[0]!r}); run the same command again"
            )
        await self._complete()

    async def _complete(self) -> None:
        while True:
            try:
                await self.client.end_archive(self.archive.id, ArchiveStatus.COMPLETED)
            except Conflict as error:
                if error.code != "archive_unfinished":
                    return  # Cancelled meanwhile.
            else:
                return
            await self._fail_unlisted()
            await asyncio.sleep(_POLL_SECS)

    async def _fail_unlisted(self) -> None:
        """Fail files that an earlier run began and the source does not list any more, once their leases have expired."""
        left = [
            file
            async for known in self.client.files(self.archive.id, FileStatus.WAITING)
            if (file := begun_file(known, self.archive.kind, self.archive.options)) is not None
        ]
        failure = FileFailure("not_listed", "The source does not name it any more.")
        for at in range(0, len(left), BATCH_FILES):
            begun = await self.client.begin(self.archive.id, f"{self.token}-left", left[at : at + BATCH_FILES])
            ended = [EndedFile(one.job.id, one.job.lease, failure) for one in begun if one.job is not None]
            await self.client.finish(self.archive.id, ended)

    async def _submit_all(self) -> None:
        number = 0
        async for entries, files in self._batches():
            await self._wait_for_room()
            spec = BatchSpec(
                self.archive.id,
                self.archive.account,
                self.archive.options,
                f"{self.token}-{number}",
                self.retry_failed,
                tuple(entries),
                tuple(files),
            )
            future = await asyncio.to_thread(work_batch.submit, number, self.token, spec.dumps())
            waiting = asyncio.create_task(self._wait_for(future))
            self.running.add(waiting)
            waiting.add_done_callback(self.running.discard)
            self.seen += len(entries) + len(files)
            number += 1
        await asyncio.gather(*self.running)

    async def _batches(self) -> AsyncIterator[tuple[Sequence[Entry], Sequence[SourceFile]]]:
        if self.archive.kind is ArchiveKind.REPROCESS:
            batch: list[SourceFile] = []
            async for one in self.client.select(self.archive.source, include_current=self.archive.include_current):
                batch.append(selected_file(one))
                if len(batch) >= self._batch_files():
                    yield (), batch
                    batch = []
            if batch:
                yield (), batch
            return
        source = open_source(self.archive.source, self.archive.options)
        async for found in batches(source, self._batch_files):
            problems = [one for one in found if isinstance(one, Problem)]
            for at in range(0, len(problems), BATCH_FILES):
                noted = noted_problem(self.archive.account, problems[at : at + BATCH_FILES])
                await self.client.note(self.archive.id, noted)
            if entries := [one for one in found if isinstance(one, Entry)]:
                yield entries, ()

    async def _wait_for_room(self) -> None:
        """Wait until fewer than two batches per Dask thread are running."""
        self.threads = await asyncio.to_thread(_num_threads)
        while len(self.running) >= 2 * self.threads:
            await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
            self.threads = await asyncio.to_thread(_num_threads)

    def _batch_files(self) -> int:
        return batch_files(self.settings.archives.archive_batch_files, self.seen, self.threads)

    async def _wait_for(self, future: PrefectFuture[Any]) -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        wrapped = future.wrapped_future  # type: ignore[attr-defined]
        wrapped.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
        await done.wait()
        try:
            await asyncio.to_thread(future.result)
        except Exception as error:
            logger.warning("archive %d: a batch was given up: %r", self.archive.id, error)
            self.failed.append(error)

    async def _watch(self) -> None:
        """Returns when the run was cancelled; meanwhile shows its progress in Prefect."""
        artifact = prefect_artifacts.ProgressArtifact(self.archive.id)
        while True:
            await asyncio.sleep(_POLL_SECS)
            try:
                found = await self.client.archive(self.archive.id)
            except FluxionsError as error:
                logger.warning("archive %d: cannot ask how far it is: %s", self.archive.id, error.message)
                continue
            if found.status is ArchiveStatus.CANCELLED:
                return
            await artifact.show(found.counts, self.seen)

    async def _stop(self) -> None:
        """Have every batch, wherever it runs, release the files it holds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RELEASE_SECS):
                await asyncio.to_thread(lambda: stop_batches(_runner().client, self.token))
                await asyncio.gather(*self.running, return_exceptions=True)


def batch_files(least: int, seen: int, threads: int) -> int:
    """Number of files in the next batch of a run that has ``seen`` so many files before."""
    return min(max(least, seen // (_BATCHES_PER_THREAD * threads)), BATCH_FILES)


def _runner() -> Any:
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("an archive runs inside its flow")
    return context.task_runner


def _num_threads() -> int:
    threads: dict[str, int] = _runner().client.nthreads()
    return max(1, sum(threads.values()))
