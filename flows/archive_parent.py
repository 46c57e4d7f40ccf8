"""The parent of an archive's batches: reads the source, keeps batches under way, hears of a cancel, ends the run."""

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

from flows import archive_record
from flows.archive_client import ArchiveClient
from flows.archive_cluster import stop_batches
from flows.archive_order import Order, begun_file, noted_problem, selected_file
from flows.archive_task import work_batch
from flows.sources.entries import Entry, Problem
from flows.sources.opening import batches, open_source
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

_LOOK_SECS: Seconds = 2.0
"""How often the run asks whether it was cancelled, and how far it is."""
_LET_GO_SECS: Seconds = 15.0
_BATCHES_A_THREAD = 20
"""Batches grow while a run proves to be long, but to no more than a Dask thread's share of it by this."""

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """One run of an archive's flow."""

    client: ArchiveClient
    settings: Settings
    archive: Archive
    retry_failed: bool
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    failed: list[BaseException] = field(default_factory=list)
    seen: int = 0
    threads: int = 1
    """Of all Dask workers, when last asked."""

    async def to_the_end(self) -> None:
        """Raises Unavailable if batches could not be worked on: what they hold is left for the next run."""
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
            if self.under_way:
                await self._stop()

    async def _work(self) -> None:
        try:
            await self._submit_all()
        except Conflict as error:
            logger.info("archive %d: the run has ended, %s", self.archive.id, error.code)
            return
        except FluxionsError as error:
            # The source itself failed, or the gateway is away; what was found before counts.
            await asyncio.gather(*self.under_way)
            if not error.retryable:
                await self.client.end_archive(self.archive.id, ArchiveStatus.FAILED, error.message)
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
            await self._drop_unlisted()
            await asyncio.sleep(_LOOK_SECS)

    async def _drop_unlisted(self) -> None:
        """Files an earlier run began and the source does not name any more have failed; their leases run out first."""
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
            await self._room()
            order = Order(
                self.archive.id,
                self.archive.account,
                self.archive.options,
                f"{self.token}-{number}",
                self.retry_failed,
                tuple(entries),
                tuple(files),
            )
            future = await asyncio.to_thread(work_batch.submit, number, self.token, order.dumps())
            waiting = asyncio.create_task(self._wait(future))
            self.under_way.add(waiting)
            waiting.add_done_callback(self.under_way.discard)
            self.seen += len(entries) + len(files)
            number += 1
        await asyncio.gather(*self.under_way)

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

    async def _room(self) -> None:
        """Wait until there are fewer batches under way than two a Dask thread."""
        self.threads = await asyncio.to_thread(_num_threads)
        while len(self.under_way) >= 2 * self.threads:
            await asyncio.wait(self.under_way, return_when=asyncio.FIRST_COMPLETED)
            self.threads = await asyncio.to_thread(_num_threads)

    def _batch_files(self) -> int:
        return batch_files(self.settings.archives.archive_batch_files, self.seen, self.threads)

    async def _wait(self, future: PrefectFuture[Any]) -> None:
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
        """Returns when the run was cancelled; meanwhile tells Prefect how far it is."""
        board = archive_record.Board(self.archive.id)
        while True:
            await asyncio.sleep(_LOOK_SECS)
            try:
                found = await self.client.archive(self.archive.id)
            except FluxionsError as error:
                logger.warning("archive %d: cannot ask how far it is: %s", self.archive.id, error.message)
                continue
            if found.status is ArchiveStatus.CANCELLED:
                return
            await board.show(found.counts, self.seen)

    async def _stop(self) -> None:
        """Every batch lets go of what it has in hand, wherever it runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_SECS):
                await asyncio.to_thread(lambda: stop_batches(_runner().client, self.token))
                await asyncio.gather(*self.under_way, return_exceptions=True)


def batch_files(least: int, seen: int, threads: int) -> int:
    """Files of the next batch of a run that has ``seen`` so many: a task costs as much as some short recordings do."""
    return min(max(least, seen // (_BATCHES_A_THREAD * threads)), BATCH_FILES)


def _runner() -> Any:
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("an archive runs inside its flow")
    return context.task_runner


def _num_threads() -> int:
    threads: dict[str, int] = _runner().client.nthreads()
    return max(1, sum(threads.values()))
