"""Archives as a Prefect flow on Dask: batches of files as tasks, the state of every file in the ledger.

The parent reads the source as a stream and keeps a few batches a Dask worker under way. A worker that dies has its batch
run again elsewhere; a flow that dies is started again and finds in the ledger what is left. Prefect keeps the record, the
report and the schedule.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled
from prefect.tasks import exponential_backoff

from flows import archive_record
from flows.archive_batch import Batch
from flows.archive_client import ArchiveClient
from flows.archive_cluster import know_prefect, scratch, stop_batches, stopped, task_runner, tools
from flows.archive_connecting import connect
from flows.archive_order import Order, new_archive, noted_problem, selected_file
from flows.sources.entries import Entry, Problem
from flows.sources.opening import batches, open_source
from schemas.archives import (
    BATCH_FILES,
    Archive,
    ArchiveKind,
    ArchiveStatus,
    SourceFile,
)
from schemas.domain import JobOptions, Seconds, SpeakerHint
from schemas.errors import Conflict, FluxionsError, Unavailable
from schemas.settings import Settings

_LOOK_SECS: Seconds = 2.0
"""How often the run asks whether it was cancelled, and how far it is."""
_LET_GO_SECS: Seconds = 15.0

logger = logging.getLogger(__name__)


@task(
    name="archive batch",
    task_run_name="batch {number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_jitter_factor=0.5,
)
async def work_batch(number: int, run: str, order: str) -> None:
    """One batch, in a Dask worker; ends early, without an error, when the run is stopped or was cancelled."""
    know_prefect()
    # The flow of a long file inside is a run of its own, not a part of this task: it gets an empty context.
    work = asyncio.create_task(_work(Order.loads(order)), context=Context())
    stop = asyncio.create_task(stopped(run))
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (work, stop):
            one.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _work(order: Order) -> None:
    settings = Settings()
    try:
        with scratch(settings) as folder:
            async with tools(settings) as (kit, client):
                await Batch(order, kit, client, settings, folder).run()
    except* Conflict as group:
        logger.info("archive %d: the run has ended, %s", order.archive_id, group.exceptions[0])


@flow(name="archive", flow_run_name="archive of {source}", task_runner=task_runner(), persist_result=False)
async def archive(
    source: str,
    account: str = "default",
    name: str = "",
    reprocess: bool = False,
    include_current: bool = False,
    non_speech: bool = False,
    min_speakers: int = 1,
    max_speakers: int | None = None,
    retry_failed: bool = False,
) -> dict[str, Any] | State[Any]:
    """Transcribe all recordings of a source, or those that are left of an earlier run with the same parameters.

    Args:
        source: A folder, a glob, s3://bucket/prefix, or a CSV or Parquet manifest, as the workers see it; with
            reprocess an SQL condition over the table transcriptions, such as "where created_at < '2026-01-01'".
        account: Account that owns the transcriptions, where a manifest names no other. With reprocess, the condition
            says whose are taken.
        name: What the run is called in lists; default its source.
        reprocess: Give transcriptions in history a new revision instead of reading new files.
        include_current: With reprocess, also do again what the present engines made.
        non_speech: Include pauses, hesitations and other sounds.
        min_speakers: Speakers there are at least.
        max_speakers: Speakers there are at most; empty for no bound.
        retry_failed: Try again files that failed before; else they stay as they are.
    """
    options = JobOptions(non_speech, SpeakerHint(min_speakers, max_speakers))
    new = new_archive(source, account, name, options, reprocess=reprocess, include_current=include_current)
    settings = Settings()
    client = connect(settings)
    try:
        found = await client.open_archive(new)
        await archive_record.claim(found.id)
        run = Run(client, settings, found, retry_failed)
        await run.to_the_end()
        report = await archive_record.publish(client, found.id)
        if report["status"] == ArchiveStatus.CANCELLED:
            return Cancelled(message=f"archive {found.id} was cancelled", data=report)
        return report
    finally:
        await client.close()


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
        except FluxionsError as error:
            # The source itself failed; what was found before counts.
            await asyncio.gather(*self.under_way)
            await self.client.end_archive(self.archive.id, ArchiveStatus.FAILED, error.message)
            raise
        if self.failed:
            raise Unavailable(
                f"{len(self.failed)} batches could not be worked on ({self.failed[0]!r}); run the same command again"
            )
        await self.client.end_archive(self.archive.id, ArchiveStatus.COMPLETED)

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
        size = self.settings.archives.archive_batch_files
        if self.archive.kind is ArchiveKind.REPROCESS:
            batch: list[SourceFile] = []
            async for one in self.client.select(self.archive.source, include_current=self.archive.include_current):
                batch.append(selected_file(one))
                if len(batch) == size:
                    yield (), batch
                    batch = []
            if batch:
                yield (), batch
            return
        source = open_source(self.archive.source, self.archive.options)
        async for found in batches(source, size):
            problems = [one for one in found if isinstance(one, Problem)]
            for at in range(0, len(problems), BATCH_FILES):
                noted = noted_problem(self.archive.account, problems[at : at + BATCH_FILES])
                await self.client.note(self.archive.id, noted)
            if entries := [one for one in found if isinstance(one, Entry)]:
                yield entries, ()

    async def _room(self) -> None:
        """Wait until there are fewer batches under way than two a Dask thread."""
        while len(self.under_way) >= 2 * await asyncio.to_thread(_num_threads):
            await asyncio.wait(self.under_way, return_when=asyncio.FIRST_COMPLETED)

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


def _runner() -> Any:
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("an archive runs inside its flow")
    return context.task_runner


def _num_threads() -> int:
    threads: dict[str, int] = _runner().client.nthreads()
    return max(1, sum(threads.values()))
