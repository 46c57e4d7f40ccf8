"""One batch of an archive, from its source to history: read, hashed, begun, worked on by the engines, handed in.

All of it may happen twice. A file is known by its key and content, and a batch that is run again, here or on another
machine, finds what was finished; what was leased under its name is leased to it still.
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

from flows import steps
from flows.archive_client import ArchiveClient
from flows.archive_fetching import Fetcher, Ready
from flows.archive_order import Order
from flows.client import ClaimedJob
from flows.progress import Reporter
from schemas.archives import BATCH_FILES, BeginState, EndedFile, FileFailure, FileStatus
from schemas.domain import Seconds, Transcript
from schemas.errors import Conflict, FluxionsError, InvalidRequest, NotFound
from schemas.settings import Settings

_BEGUN_FILES = 25
"""Files begun with one call, which the ledger keeps with as many commits as one file: the next are read meanwhile."""
_ENDED_FILES = 20
"""Files handed in with one call: what is lost with a worker is at most what it had in hand and these."""
_TICK_SECS: Seconds = 1.0
_HAND_IN_SECS: Seconds = 2.0
"""A finished file waits at most so long for others to be handed in with."""
_TOLD_AFTER_SECS: Seconds = 5.0
"""Progress of a single file is told only of those that take longer."""
_LONGEST_PAUSE_SECS: Seconds = 15.0
_RELEASE_SECS: Seconds = 5.0
_OWN_BUG = "the recording could not be processed; the worker's log says more"

logger = logging.getLogger(__name__)


@dataclass
class _Work:
    """A file in hand."""

    ready: Ready
    job: ClaimedJob
    reporter: Reporter
    task: asyncio.Task[Transcript | FileFailure | None]
    began: float = field(default_factory=time.monotonic)


class Batch:
    """``await Batch(...).run()`` settles every file of an order, or raises."""

    def __init__(self, order: Order, tools: steps.Tools, client: ArchiveClient, settings: Settings, scratch: Path) -> None:
        self._order = order
        self._tools = tools
        self._client = client
        self._at_once = settings.archives.archive_files_at_once
        self._scratch = scratch
        self._fetcher = Fetcher(order, client, scratch, settings.limits.max_upload_bytes)
        self._begun: dict[int, tuple[Ready, ClaimedJob]] = {}
        """By job id: what is leased and not yet handed in."""
        self._in_hand: dict[int, _Work] = {}
        self._ended: list[EndedFile] = []
        self._ended_since = 0.0
        self._again: list[Ready] = []
        self._pause_secs: Seconds = 0.0
        self._handing_in = asyncio.Lock()

    async def run(self) -> None:
        """Raises Conflict(code="archive_ended") if the run was cancelled, and what the gateway raises."""
        todo: list[Ready] | None = None
        pause: Seconds = 1.0
        try:
            while todo is None or todo:
                await self._round(todo)
                todo, self._again = self._again, []
                if todo:
                    await asyncio.sleep(max(pause, self._pause_secs))
                    pause, self._pause_secs = min(pause * 2, _LONGEST_PAUSE_SECS), 0.0
        finally:
            await self._let_go()

    async def _round(self, todo: Sequence[Ready] | None) -> None:
        """``todo`` as it was prepared before, or None for all of the order."""
        queue: asyncio.Queue[tuple[Ready, ClaimedJob] | None] = asyncio.Queue(self._at_once)
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat())
            hands = [group.create_task(self._hand(queue)) for _ in range(self._at_once)]
            portions = self._fetcher.portions(_BEGUN_FILES) if todo is None else _portions(todo)
            async for portion in portions:
                for leased in await self._begin(portion):
                    await queue.put(leased)
            for _ in hands:
                await queue.put(None)
            await asyncio.wait(hands)
            await self._hand_in()
            beat.cancel()

    async def _begin(self, portion: Sequence[Ready]) -> list[tuple[Ready, ClaimedJob]]:
        """Those of ``portion`` that are to be worked on; the others are done, held elsewhere, or could not be sent."""
        leased = []
        for _ in range(2):
            needing = []
            answers = await self._client.begin(
                self._order.archive_id,
                self._order.worker,
                [ready.source for ready in portion],
                retry_failed=self._order.retry_failed,
            )
            for ready, begun in zip(portion, answers, strict=True):
                if begun.job is not None:
                    self._begun[begun.job.id] = (ready, begun.job)
                    leased.append((ready, begun.job))
                elif begun.state is BeginState.NEEDS_BYTES:
                    needing.append(ready)
                elif begun.state is BeginState.HELD:
                    self._again.append(ready)
                    self._pause_secs = max(self._pause_secs, begun.retry_after_secs or 0.0)
                else:
                    ready.drop()
            portion = await self._fetcher.send(needing)
            if not portion:
                break
        if leased:
            # What the gateway gave counts as an attempt from the first word on: the answer has come.
            await self._renew()
        return leased

    async def _hand(self, queue: asyncio.Queue[tuple[Ready, ClaimedJob] | None]) -> None:
        while (leased := await queue.get()) is not None:
            ready, job = leased
            if job.id not in self._begun:
                continue  # Its lease was lost while it waited here.
            reporter = Reporter(self._client, job)
            task = asyncio.create_task(self._transcribe(ready, job, reporter))
            self._in_hand[job.id] = _Work(ready, job, reporter, task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                del self._in_hand[job.id]
            result = None if task.cancelled() else task.result()
            playback = self._client.playback(job.lease)
            if result is None:
                self._begun.pop(job.id, None)
                self._again.append(ready)
            else:
                kept = playback if isinstance(result, Transcript) else b""
                await self._end(EndedFile(job.id, job.lease, result, kept))

    async def _transcribe(self, ready: Ready, job: ClaimedJob, reporter: Reporter) -> Transcript | FileFailure | None:
        """A transcript, or why there is none; None if the lease was lost."""
        result: Transcript | FileFailure | None = None
        with _folder(self._scratch, job.id) as folder:
            try:
                source = ready.path
                if source is None or not source.exists():
                    # Not ours to read, or used up by an attempt that failed: the gateway has it.
                    source = folder / "source"
                    await self._client.fetch_audio(job, source)
                result = await steps.transcribe_file(self._tools, job, source, folder, reporter)
            except* Conflict:
                logger.info("job %d: another worker finished or holds it", job.id)
            except* InvalidRequest as group:
                result = _failure(group, retryable=False)
            except* FluxionsError as group:
                result = _failure(group, retryable=True)
            except* Exception:
                logger.exception("job %d: unexpected failure", job.id)
                result = FileFailure("internal_error", _OWN_BUG, retryable=True)
        return result

    async def _end(self, ended: EndedFile) -> None:
        if not self._ended:
            self._ended_since = time.monotonic()
        self._ended.append(ended)
        if len(self._ended) >= _ENDED_FILES:
            await self._hand_in()

    async def _hand_in(self) -> None:
        async with self._handing_in:
            while portion := self._ended[:_ENDED_FILES]:
                outcomes = await self._client.finish(self._order.archive_id, portion)
                del self._ended[: len(portion)]
                for outcome in outcomes:
                    ready, _ = self._begun.pop(outcome.job_id)
                    if outcome.status is FileStatus.WAITING or outcome.error is not None:
                        self._again.append(ready)  # To be tried again, or another's by now: asking tells.
                    else:
                        ready.drop()

    async def _beat(self) -> None:
        """Keeps the leases, tells how far long files are, and hands in what has waited."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECS)
            now = time.monotonic()
            lease_secs = min((job.lease_secs for _, job in self._begun.values()), default=None)
            try:
                if lease_secs is not None and now - renewed >= lease_secs / 3:
                    renewed = now
                    await self._renew()
                for work in list(self._in_hand.values()):
                    if now - work.began >= _TOLD_AFTER_SECS:
                        await self._tell(work)
                if self._ended and now - self._ended_since >= _HAND_IN_SECS:
                    await self._hand_in()
            except FluxionsError as error:
                logger.warning("archive %d: cannot keep its leases: %s", self._order.archive_id, error.message)

    async def _tell(self, work: _Work) -> None:
        try:
            await work.reporter.flush()
        except (Conflict, NotFound):
            work.task.cancel()  # Its lease is lost.

    async def _renew(self) -> None:
        leases = {job.id: job.lease for _, job in self._begun.values()}
        for some in _pieces(leases):
            for job_id in await self._client.renew_files(self._order.archive_id, some):
                if job_id in self._in_hand:
                    self._in_hand[job_id].task.cancel()
                elif job_id in self._begun and all(one.job_id != job_id for one in self._ended):
                    # It waits for a hand, which will pass it by.
                    self._again.append(self._begun.pop(job_id)[0])

    async def _let_go(self) -> None:
        """What was finished is handed in, the rest handed back, so that nobody waits for leases to run out."""
        if not self._begun:
            return
        with contextlib.suppress(FluxionsError, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECS):
                await self._hand_in()
                for some in _pieces({job.id: job.lease for _, job in self._begun.values()}):
                    await self._client.release_files(self._order.archive_id, some)


async def _portions(todo: Sequence[Ready]) -> AsyncIterator[list[Ready]]:
    for at in range(0, len(todo), _BEGUN_FILES):
        yield list(todo[at : at + _BEGUN_FILES])


def _pieces(leases: dict[int, str]) -> list[dict[int, str]]:
    rows = list(leases.items())
    return [dict(rows[at : at + BATCH_FILES]) for at in range(0, len(rows), BATCH_FILES)]


@contextlib.contextmanager
def _folder(scratch: Path, job_id: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"job-{job_id}-", dir=scratch) as folder:
        yield Path(folder)


def _failure(group: BaseExceptionGroup[BaseException], *, retryable: bool) -> FileFailure:
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _failure(error, retryable=retryable)
    assert isinstance(error, FluxionsError)  # noqa: S101 - both callers caught nothing else
    return FileFailure(error.code, error.message, retryable)
