"""Archive runs in the ledger: all of them by what they last were, those under way with every file, and their tables.

A file's state follows its job's. Jobs are committed first, files after them; a ledger that ended between the two finds the
jobs of its runs again when it starts (`reconcile`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from lakehouse.archive_rows import archive_from_row, archive_row, file_from_row, file_row
from lakehouse.commits import TableWriter
from lakehouse.ledger.archive_runs import DELETED, Run
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.reads import TableReader
from schemas.archives import Archive, ArchiveFile, ArchiveStatus, FileStatus
from schemas.domain import Job, JobStatus
from schemas.errors import Conflict, NotFound, Unavailable

log = logging.getLogger(__name__)

LINGER_SECS = 0.3
"""What changes outside of a batch waits so long for company before it is written."""


class ArchiveBook:
    """Used on the ledger's event loop. What raises Unavailable may be repeated."""

    def __init__(self, writers: dict[str, TableWriter], clock: Clock) -> None:
        self._table = writers["archives"]
        self._files = writers["archive_files"]
        self._file_reader = TableReader(self._files.uri)
        self._clock = clock
        self._ids = Allocator(clock)
        self._file_seq = 0
        self._archives: dict[int, Archive] = {}
        self._by_fingerprint: dict[str, int] = {}
        self.runs: dict[int, Run] = {}
        self._changed: dict[tuple[int, str], ArchiveFile] = {}
        self._writing = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Every run as it last was, and the files of those under way."""
        reader = TableReader(self._table.uri)
        rows = await asyncio.to_thread(reader.collect, lambda table: table.sort("seq"), self._table.version)
        for row in rows.iter_rows(named=True):
            self._know(archive_from_row(row))
        bounds = rows.select(pl.max("id"), pl.max("created_at"), pl.max("seq")).to_dicts()[0]
        self._ids.restore(bounds)
        last = await asyncio.to_thread(self._file_reader.collect, lambda t: t.select(pl.max("seq")), self._files.version)
        self._file_seq = 0 if last.item() is None else last.item() + 1
        await self.open(*(a for a in self._archives.values() if a.status is ArchiveStatus.RUNNING))

    async def open(self, *archives: Archive) -> None:
        """Bring the files of runs into memory. Work on revisions does not survive the ledger: it waits again."""
        if not archives:
            return
        wanted = pl.col("archive_id").is_in([archive.id for archive in archives])
        rows = await asyncio.to_thread(self._file_reader.collect, lambda t: t.filter(wanted), self._files.version)
        # A hundred thousand files take seconds, in which others must be served.
        for run in await asyncio.to_thread(_runs, archives, rows):
            self.runs.setdefault(run.archive.id, run)

    def reconcile(self, jobs: Iterable[Job]) -> None:
        """Take in jobs that runs under way made, in any order."""
        for job in jobs:
            run = self.runs.get(job.archive_id) if job.archive_id is not None else None
            file = run.of_job(job.id) if run is not None else None
            if file is None or not file.status.is_settled:
                self.saw(job)

    def new(self, make: Callable[[int, Any], Archive]) -> Archive:
        """``make`` of the next id and its time; not kept before it is saved."""
        return make(*self._ids.next())

    async def save(self, archive: Archive) -> Archive:
        """Commit a run's state."""
        await self._table.append([archive_row(self._ids.next_seq(), archive)])
        self._know(archive)
        return archive

    def all(self) -> list[Archive]:
        """Newest first, with counts as they are now."""
        return [self.find(archive_id) for archive_id in sorted(self._archives, reverse=True)]

    def find(self, archive_id: int) -> Archive:
        """Raises NotFound."""
        run = self.runs.get(archive_id)
        if run is not None:
            return replace(run.archive, counts=run.counts)
        if archive_id not in self._archives:
            raise NotFound(f"there is no archive {archive_id}", code="archive_not_found", param="archive_id")
        return self._archives[archive_id]

    def like(self, fingerprint: str) -> Archive | None:
        """The run with this fingerprint."""
        archive_id = self._by_fingerprint.get(fingerprint)
        return None if archive_id is None else self.find(archive_id)

    def running(self, archive_id: int) -> Run:
        """Raises NotFound, Conflict(code="archive_ended")."""
        run = self.runs.get(archive_id)
        if run is None:
            status = self.find(archive_id).status
            raise Conflict(f"archive {archive_id} is {status}, not running; open it again", code="archive_ended")
        return run

    def revising(self, job_id: int) -> tuple[Run, Job] | None:
        """The revision of a transcription that is being made, and by which run."""
        for run in self.runs.values():
            if job_id in run.revising:
                return run, run.revising[job_id]
        return None

    def put(self, run: Run, file: ArchiveFile) -> None:
        """Take in a file's new state; `flush` commits it."""
        run.put(file)
        self._changed[run.archive.id, file.key] = file

    def saw(self, job: Job) -> None:
        """Let files follow a job that was committed."""
        if job.status is JobStatus.DELETED:
            for run in self.runs.values():
                run.revising.pop(job.id, None)
                if (file := run.of_job(job.id)) is not None:
                    self.put(run, forgotten(file))
            return
        run_of_job = self.runs.get(job.archive_id) if job.archive_id is not None else None
        if run_of_job is None:
            return
        file = run_of_job.of_job(job.id)
        if file is not None:
            self.put(run_of_job, following(file, job))
        elif job.import_key is not None:
            run_of_job.loose[job.import_key] = job.id

    async def flush(self) -> None:
        """Commit all files that changed."""
        async with self._writing:
            changed, self._changed = self._changed, {}
            if not changed:
                return
            rows = [file_row(self._file_seq + n, file) for n, file in enumerate(changed.values())]
            self._file_seq += len(rows)
            try:
                await self._files.append(rows)
            except BaseException:
                self._changed = changed | self._changed
                raise

    def flush_soon(self) -> None:
        """Commit what changed outside of a batch, a little later."""
        if self._changed and (self._later is None or self._later.done()):
            self._later = asyncio.create_task(self._flush_later(), name="archive-files")

    async def close(self) -> None:
        """Commit what changed, if the table can be written: else it is found again by the jobs."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait([self._later])
        try:
            await self.flush()
        except Unavailable:
            log.warning("%d files of archives could not be written", len(self._changed))

    async def tombstones(self, job_ids: Sequence[int]) -> bool:
        """Of deleted transcriptions keep, in every run, only that they are to be left alone; whether there were any."""
        await self.flush()
        item, wanted = ["archive_id", "item"], pl.col("transcription_id").is_in(list(job_ids))

        def query(table: pl.LazyFrame) -> pl.LazyFrame:
            return table.join(table.filter(wanted).select(item).unique(), on=item, how="semi")

        rows = await asyncio.to_thread(self._file_reader.collect, query, self._files.version)
        # A file that became another transcription meanwhile stays what it is.
        latest = rows.sort("seq").unique(item, keep="last").filter(wanted)
        for row in latest.iter_rows(named=True):
            self._changed[row["archive_id"], row["item"]] = forgotten(file_from_row(row))
        await self.flush()
        return bool(rows.height)

    async def _flush_later(self) -> None:
        await asyncio.sleep(LINGER_SECS)
        try:
            await self.flush()
        except Unavailable:
            # They stay among the changed, and go with the next.
            log.warning("%d files of archives could not be written yet", len(self._changed))

    def _know(self, archive: Archive) -> None:
        self._archives[archive.id] = archive
        self._by_fingerprint[archive.fingerprint] = archive.id
        run = self.runs.get(archive.id)
        if run is not None:
            run.archive = archive


def _runs(archives: Sequence[Archive], rows: pl.DataFrame) -> list[Run]:
    """Runs with their files, of all changes of these in any order."""
    runs = {archive.id: Run(archive) for archive in archives}
    latest = rows.sort("seq").unique(["archive_id", "item"], keep="last", maintain_order=True)
    for row in latest.iter_rows(named=True):
        file = file_from_row(row)
        if file.status is FileStatus.PROCESSING and (file.revision or 0) > 0:
            file = replace(file, status=FileStatus.WAITING)
        runs[file.archive_id].put(file)
    return list(runs.values())


def following(file: ArchiveFile, job: Job) -> ArchiveFile:
    """The file after its job changed."""
    file = replace(
        file,
        updated_at=job.updated_at,
        reason=None,
        message=job.error_message,
        attempts=file.attempts if job.revision else job.attempt,
        transcription_id=job.id,
        revision=job.revision,
    )
    match job.status:
        case JobStatus.SUBMITTED:
            return replace(file, status=FileStatus.WAITING)
        case JobStatus.PROCESSING:
            return replace(file, status=FileStatus.PROCESSING)
        case JobStatus.COMPLETED:
            return replace(
                file,
                status=FileStatus.COMPLETED,
                audio_secs=job.audio_duration_secs,
                processing_secs=job.processing_secs,
                cached=job.cached,
                cost_usd=job.cost_usd,
            )
        case JobStatus.FAILED:
            return replace(file, status=FileStatus.FAILED, reason="worker_lost")
        case _:
            return replace(file, status=FileStatus.SKIPPED, reason="cancelled", message="Its owner cancelled it.")


def forgotten(file: ArchiveFile) -> ArchiveFile:
    """The file after its transcription was deleted: only its key stays, so that it is not begun again."""
    return ArchiveFile(
        archive_id=file.archive_id,
        key=file.key,
        version=file.version,
        location="",
        account=file.account,
        filename="",
        metadata=json.dumps({}),
        status=FileStatus.SKIPPED,
        updated_at=file.updated_at,
        reason=DELETED,
        message="Its transcription was deleted.",
    )
