"""Archive runs in memory and in their tables ``archives`` and ``archive_files``.

All runs are in memory in their last state, running ones with every file. A file's state follows its job's. Jobs are
committed first and files after them; after a crash between the two, `reconcile` brings files up to date from the jobs of
their run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.ledger.archives.run_state import DELETED, ArchiveRunState
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.ids import Allocator
from lakehouse.tables.archive_row_mapping import archive_from_row, archive_row, file_from_row, file_row
from lakehouse.tables.group_commit import TableWriter
from schemas.archives import Archive, ArchiveFile, ArchiveStatus, FileStatus
from schemas.domain import Job, JobStatus
from schemas.errors import Conflict, NotFound, Unavailable

log = logging.getLogger(__name__)

LINGER_SECS = 0.3
"""Time that a file changed outside of a batch waits, to be committed together with others."""


class ArchiveStore:
    """Used on the ledger's event loop. Methods that raise Unavailable may be repeated."""

    def __init__(self, writers: Mapping[str, TableWriter], clock: Clock) -> None:
        self._table = writers["archives"]
        self._files = writers["archive_files"]
        self._file_reader = self._files.reader()
        self._clock = clock
        self.ids = Allocator(clock)
        self._file_seq = 0
        self._archives: dict[int, Archive] = {}
        self._by_fingerprint: dict[str, int] = {}
        self.runs: dict[int, ArchiveRunState] = {}
        self._changed: dict[tuple[int, str], ArchiveFile] = {}
        self._writing = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read every run in its last state, and the files of running ones."""
        rows = await asyncio.to_thread(self._table.reader().collect, lambda table: table.sort("seq"), self._table.version)
        for row in rows.iter_rows(named=True):
            self._remember(archive_from_row(row))
        bounds = rows.select(pl.max("id"), pl.max("created_at"), pl.max("seq")).to_dicts()[0]
        self.ids.restore(bounds)
        last = await asyncio.to_thread(self._file_reader.highest, ("seq",), self._files.version)
        self._file_seq = 0 if last["seq"] is None else last["seq"] + 1
        await self.open(*(a for a in self._archives.values() if a.status is ArchiveStatus.RUNNING))

    async def open(self, *archives: Archive) -> None:
        """Read the files of runs into memory.

        Pending revisions are lost with the ledger's process: their files wait again.
        """
        if not archives:
            return
        wanted = pl.col("archive_id").is_in([archive.id for archive in archives])
        rows = await asyncio.to_thread(self._file_reader.collect, lambda t: t.filter(wanted), self._files.version)
        # A hundred thousand files take seconds; on a thread they do not block other requests.
        for run in await asyncio.to_thread(_runs, archives, rows):
            self.runs.setdefault(run.archive.id, run)

    def reconcile(self, jobs: Iterable[Job]) -> None:
        """Update files to the state of ``jobs`` that running archives made, given in any order."""
        for job in jobs:
            run = self.runs.get(job.archive_id) if job.archive_id is not None else None
            file = run.file_of_job(job.id) if run is not None else None
            if file is None or not file.status.is_settled:
                self.on_job_committed(job)

    def new(self, make: Callable[[int, dt.datetime], Archive]) -> Archive:
        """``make`` called with the next id and its time. The result is not known here before `save`."""
        return make(*self.ids.next())

    async def save(self, archive: Archive) -> Archive:
        """Commit the state of a run."""
        await self._table.append([archive_row(self.ids.next_seq(), archive)])
        self._remember(archive)
        return archive

    def all(self) -> list[Archive]:
        """Every run, newest first, with its present counts."""
        return [self.find(archive_id) for archive_id in sorted(self._archives, reverse=True)]

    def find(self, archive_id: int) -> Archive:
        """A run with its present counts. Raises NotFound."""
        run = self.runs.get(archive_id)
        if run is not None:
            return replace(run.archive, counts=run.counts)
        if archive_id not in self._archives:
            raise NotFound(f"there is no archive {archive_id}", code="archive_not_found", param="archive_id")
        return self._archives[archive_id]

    def with_fingerprint(self, fingerprint: str) -> Archive | None:
        """The run with this fingerprint; None if there is none."""
        archive_id = self._by_fingerprint.get(fingerprint)
        return None if archive_id is None else self.find(archive_id)

    def forget(self, account: str) -> None:
        """Drop the runs of an account from memory."""
        for archive in [one for one in self._archives.values() if one.account == account]:
            del self._archives[archive.id]
            self._by_fingerprint.pop(archive.fingerprint, None)
            self.runs.pop(archive.id, None)

    def running(self, archive_id: int) -> ArchiveRunState:
        """The state of a running archive. Raises NotFound, Conflict(code="archive_ended")."""
        run = self.runs.get(archive_id)
        if run is None:
            status = self.find(archive_id).status
            raise Conflict(f"archive {archive_id} is {status}, not running; open it again", code="archive_ended")
        return run

    def pending_revision(self, job_id: int) -> tuple[ArchiveRunState, Job] | None:
        """The pending revision of a transcription, with its run; None if there is none."""
        for run in self.runs.values():
            if job_id in run.pending_revisions:
                return run, run.pending_revisions[job_id]
        return None

    def put(self, run: ArchiveRunState, file: ArchiveFile) -> None:
        """Set the state of a file in memory; `flush` commits it."""
        run.put(file)
        self._changed[run.archive.id, file.key] = file

    def on_job_committed(self, job: Job) -> None:
        """Update the file of a committed job."""
        if job.status is JobStatus.DELETED:
            for run in self.runs.values():
                run.pending_revisions.pop(job.id, None)
                if (file := run.file_of_job(job.id)) is not None:
                    self.put(run, tombstone(file))
            return
        run_of_job = self.runs.get(job.archive_id) if job.archive_id is not None else None
        if run_of_job is None:
            return
        file = run_of_job.file_of_job(job.id)
        if file is not None:
            self.put(run_of_job, file_after(file, job))
        elif job.import_key is not None:
            run_of_job.unassigned_jobs[job.import_key] = job.id

    async def flush(self) -> None:
        """Commit all files that changed. Raises Unavailable."""
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
        """Commit changed files after `LINGER_SECS`."""
        if self._changed and (self._later is None or self._later.done()):
            self._later = asyncio.create_task(self._flush_later(), name="archive-files")

    async def close(self) -> None:
        """Commit changed files. If the table cannot be written, `reconcile` restores the changes from the jobs."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.wait([self._later])
        try:
            await self.flush()
        except Unavailable:
            log.warning("%d files of archives could not be written", len(self._changed))

    async def tombstones(self, job_ids: Sequence[int]) -> bool:
        """Replace the files of deleted transcriptions by tombstones in every run; whether there were any."""
        await self.flush()
        item, wanted = ["archive_id", "item"], pl.col("transcription_id").is_in(list(job_ids))

        def query(table: pl.LazyFrame) -> pl.LazyFrame:
            return table.join(table.filter(wanted).select(item).unique(), on=item, how="semi")

        rows = await asyncio.to_thread(self._file_reader.collect, query, self._files.version)
        # A file that has another transcription by now is not changed.
        latest = rows.sort("seq").unique(item, keep="last").filter(wanted)
        for row in latest.iter_rows(named=True):
            self._changed[row["archive_id"], row["item"]] = tombstone(file_from_row(row))
        await self.flush()
        return bool(rows.height)

    async def _flush_later(self) -> None:
        await asyncio.sleep(LINGER_SECS)
        try:
            await self.flush()
        except Unavailable:
            # They remain among the changed files, and are committed with the next ones.
            log.warning("%d files of archives could not be written yet", len(self._changed))

    def _remember(self, archive: Archive) -> None:
        self._archives[archive.id] = archive
        self._by_fingerprint[archive.fingerprint] = archive.id
        run = self.runs.get(archive.id)
        if run is not None:
            run.archive = archive


def _runs(archives: Sequence[Archive], rows: pl.DataFrame) -> list[ArchiveRunState]:
    """States of runs from rows of ``archive_files`` in any order."""
    runs = {archive.id: ArchiveRunState(archive) for archive in archives}
    latest = rows.sort("seq").unique(["archive_id", "item"], keep="last", maintain_order=True)
    for row in latest.iter_rows(named=True):
        file = file_from_row(row)
        if file.status is FileStatus.PROCESSING and (file.revision or 0) > 0:
            file = replace(file, status=FileStatus.WAITING)
        runs[file.archive_id].put(file)
    return list(runs.values())


def file_after(file: ArchiveFile, job: Job) -> ArchiveFile:
    """The state of a file after its job changed to ``job``."""
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


def tombstone(file: ArchiveFile) -> ArchiveFile:
    """The state of a file whose transcription was deleted: only its key and version stay, so that it is not begun again."""
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
