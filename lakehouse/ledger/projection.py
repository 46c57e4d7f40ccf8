"""Projection: writes finished jobs from ``job_events`` to the tables that readers use, ``segments`` and
``transcriptions``, in batches.

Each batch is one commit to each table, with the app transaction ``("project", last seq)`` (Delta protocol, "Transaction
Identifiers"). So each table records the last event that it contains. A reopened ledger projects exactly the events after
that: a crash repeats nothing and loses nothing. Segments are written first, so the segments of every row of
``transcriptions`` are in ``segments``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from lakehouse.search import lexemes
from lakehouse.storage.objects import Objects
from lakehouse.tables.group_commit import Row, TableWriter
from lakehouse.tables.row_mapping import job_row, segment_rows
from schemas.domain import Job, JobStatus, Transcript
from schemas.errors import NotFound

log = logging.getLogger(__name__)

PROJECT_APP_ID = "project"
BATCH_JOBS = 1000
BATCH_SEGMENTS = 50_000
LINGER_SECS = 0.5
RETRY_SECS = 2.0
CACHED_TRANSCRIPTS = 32


@dataclass(frozen=True, slots=True)
class Finished:
    """A final event that is to be projected. Without ``transcript`` the result object is read."""

    seq: int
    job: Job
    transcript: Transcript | None = None


class Projector:
    """Takes final events in order of ``seq``, and calls ``on_projected`` with the jobs that have reached the tables.

    ``erase`` removes deleted jobs from tables and objects. ``before`` is awaited before a batch is committed; it stores
    data that must not be lost once events count as projected.
    """

    def __init__(
        self,
        transcriptions: TableWriter,
        segments: TableWriter,
        objects: Objects,
        on_projected: Callable[[list[Job]], None],
        erase: Callable[[Sequence[Job]], Awaitable[None]],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        linger_secs: float = LINGER_SECS,
    ) -> None:
        self._transcriptions = transcriptions
        self._segments = segments
        self._objects = objects
        self._on_projected = on_projected
        self._erase = erase
        self._before = before
        self._linger_secs = linger_secs
        self._waiting: deque[Finished] = deque()
        # A failed batch is tried again unchanged. If its commit is in the table after all, its transaction version shows
        # that.
        self._batch: list[tuple[Finished, Transcript | None]] = []
        self._cached: OrderedDict[str, Transcript] = OrderedDict()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="projection")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def projected_seq(self) -> int:
        """Events up to this ``seq`` are projected."""
        return min(self._transcriptions.txn_version, self._segments.txn_version)

    def add(self, finished: Finished) -> None:
        """Queue a final event; its ``seq`` must be higher than any before."""
        self._waiting.append(finished)
        self._wake.set()

    async def close(self) -> None:
        """Project the waiting events.

        If the tables cannot be written, they are projected when the ledger is opened again.
        """
        self._closing.set()
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # A short wait makes fewer and larger files. Meanwhile jobs are read from memory.
            await self._pause(self._linger_secs)
            while self._waiting:
                try:
                    await self._project()
                except Exception:
                    log.exception("projection of %d finished jobs failed", len(self._waiting))
                    if self._closing.is_set():
                        return
                    await self._pause(RETRY_SECS)
            self._wake.clear()
            if self._closing.is_set():
                return

    async def _pause(self, secs: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), secs)
        except TimeoutError:
            pass

    async def _project(self) -> None:
        """Project one batch from the front of the queue; it stays queued until it is in both tables."""
        if not self._batch:
            self._batch = await self._next_batch()
        if self._before is not None:
            await self._before()
        txn_version = self._batch[-1][0].seq
        gone = {finished.job.id: finished.job for finished, _ in self._batch if finished.job.status is JobStatus.DELETED}
        if gone:
            # Erased before any append, because the append's transaction version marks the deletion as done.
            await self._erase(list(gone.values()))
        batch = [item for item in self._batch if item[0].job.id not in gone]
        segments = await asyncio.to_thread(
            _segment_rows, [item for item in batch if item[0].seq > self._segments.txn_version]
        )
        if segments:
            await self._segments.append(segments, txn_version)
        rows = [job_row(finished.job) for finished, _ in batch if finished.seq > self._transcriptions.txn_version]
        if rows:
            await self._transcriptions.append(rows, txn_version)
        done, self._batch = self._batch, []
        for _ in done:
            self._waiting.popleft()
        self._on_projected([finished.job for finished, _ in done])

    async def _next_batch(self) -> list[tuple[Finished, Transcript | None]]:
        batch: list[tuple[Finished, Transcript | None]] = []
        num_segments = 0
        for finished in list(islice(self._waiting, BATCH_JOBS)):
            transcript = await self._transcript(finished) if finished.seq > self._segments.txn_version else None
            batch.append((finished, transcript))
            num_segments += len(transcript.segments) if transcript else 0
            if num_segments > BATCH_SEGMENTS:
                break
        return batch

    async def _transcript(self, finished: Finished) -> Transcript | None:
        job = finished.job
        if job.status is not JobStatus.COMPLETED or job.result_key is None:
            return None
        transcript = finished.transcript or self._cached.get(job.result_key)
        if transcript is None:
            try:
                transcript = Transcript.from_json(json.loads(await self._objects.get_bytes(job.result_key)))
            except (NotFound, ValueError, KeyError, TypeError):
                # One damaged result must not stop the others; the job itself is still written.
                log.exception("the result of job %d cannot be read; its segments are left out", job.id)
                return None
        self._cached[job.result_key] = transcript
        self._cached.move_to_end(job.result_key)
        if len(self._cached) > CACHED_TRANSCRIPTS:
            self._cached.popitem(last=False)
        return transcript


def _segment_rows(batch: list[tuple[Finished, Transcript | None]]) -> list[Row]:
    return [row for finished, transcript in batch if transcript for row in segment_rows(finished.job, transcript, lexemes)]
