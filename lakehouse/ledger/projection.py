"""From events to the tables people read: ``segments`` and ``transcriptions``, written in batches behind the ledger.

Each batch is one commit a table, marked ``("project", last seq)``. A table therefore knows up to which event it is written,
and a ledger that starts again projects exactly the events after that: a crash anywhere between repeats nothing and loses
nothing. Segments go first, so a transcription that is in its table has its segments in theirs.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from lakehouse.commits import Row, TableWriter
from lakehouse.objects import Objects
from lakehouse.rows import job_row, segment_rows
from lakehouse.search import lexemes
from schemas.domain import Job, JobStatus, Transcript
from schemas.errors import NotFound

log = logging.getLogger(__name__)

PROJECT_APP_ID = "project"
BATCH_JOBS = 1000
BATCH_SEGMENTS = 50_000
LINGER_SECS = 0.5
RETRY_SECS = 2.0
KEPT_TRANSCRIPTS = 32


@dataclass(frozen=True, slots=True)
class Finished:
    """A final event on its way into the tables. ``transcript`` is read from the result object when not at hand."""

    seq: int
    job: Job
    transcript: Transcript | None = None


class Projector:
    """Takes final events in order of ``seq`` and tells ``on_projected`` which jobs have reached the tables."""

    def __init__(
        self,
        transcriptions: TableWriter,
        segments: TableWriter,
        objects: Objects,
        on_projected: Callable[[list[Job]], None],
        erase: Callable[[Sequence[Job]], Awaitable[None]],
        *,
        linger_secs: float = LINGER_SECS,
    ) -> None:
        self._transcriptions = transcriptions
        self._segments = segments
        self._objects = objects
        self._on_projected = on_projected
        self._erase = erase
        self._linger_secs = linger_secs
        self._waiting: deque[Finished] = deque()
        # Kept over a failure: a commit that landed after all is recognised by its mark, so the rows must be the same again.
        self._batch: list[tuple[Finished, Transcript | None]] = []
        self._kept: OrderedDict[str, Transcript] = OrderedDict()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="projection")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def mark(self) -> int:
        """Events up to this ``seq`` are in both tables as far as they have rows there."""
        return min(self._transcriptions.mark, self._segments.mark)

    def add(self, finished: Finished) -> None:
        self._waiting.append(finished)
        self._wake.set()

    async def close(self) -> None:
        """Project what is waiting, unless the tables cannot be written: then the next start does it."""
        self._closing.set()
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # Jobs are served from memory meanwhile; waiting a little makes fewer, larger files.
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
        """One batch from the front of the queue, which keeps it until it is in both tables."""
        if not self._batch:
            self._batch = await self._next_batch()
        mark = self._batch[-1][0].seq
        gone = {finished.job.id: finished.job for finished, _ in self._batch if finished.job.status is JobStatus.DELETED}
        if gone:
            # Before any append: a mark must not say that a deletion is done which is not.
            await self._erase(list(gone.values()))
        batch = [item for item in self._batch if item[0].job.id not in gone]
        segments = await asyncio.to_thread(_segment_rows, [item for item in batch if item[0].seq > self._segments.mark])
        if segments:
            await self._segments.append(segments, mark)
        rows = [job_row(finished.job) for finished, _ in batch if finished.seq > self._transcriptions.mark]
        if rows:
            await self._transcriptions.append(rows, mark)
        done, self._batch = self._batch, []
        for _ in done:
            self._waiting.popleft()
        self._on_projected([finished.job for finished, _ in done])

    async def _next_batch(self) -> list[tuple[Finished, Transcript | None]]:
        batch: list[tuple[Finished, Transcript | None]] = []
        num_segments = 0
        for finished in list(islice(self._waiting, BATCH_JOBS)):
            transcript = await self._transcript(finished) if finished.seq > self._segments.mark else None
            batch.append((finished, transcript))
            num_segments += len(transcript.segments) if transcript else 0
            if num_segments > BATCH_SEGMENTS:
                break
        return batch

    async def _transcript(self, finished: Finished) -> Transcript | None:
        job = finished.job
        if job.status is not JobStatus.COMPLETED or job.result_key is None:
            return None
        transcript = finished.transcript or self._kept.get(job.result_key)
        if transcript is None:
            try:
                transcript = Transcript.from_json(json.loads(await self._objects.get_bytes(job.result_key)))
            except (NotFound, ValueError, KeyError, TypeError):
                # One damaged result must not hold up the rest; the job itself is still told as it was.
                log.exception("the result of job %d cannot be read; its segments are left out", job.id)
                return None
        self._kept[job.result_key] = transcript
        self._kept.move_to_end(job.result_key)
        if len(self._kept) > KEPT_TRANSCRIPTS:
            self._kept.popitem(last=False)
        return transcript


def _segment_rows(batch: list[tuple[Finished, Transcript | None]]) -> list[Row]:
    return [row for finished, transcript in batch if transcript for row in segment_rows(finished.job, transcript, lexemes)]
