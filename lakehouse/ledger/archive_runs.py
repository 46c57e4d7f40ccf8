"""What the ledger holds in memory of one archive run that is under way: its files, their counts, and work on revisions."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

from schemas.archives import Archive, ArchiveCounts, ArchiveFile, FileStatus, SourceFile
from schemas.domain import Job

REMEMBERED_ENDS = 10_000
DELETED = "deleted"
"""Reason of files whose transcription was deleted: they are never begun again as they were."""


@dataclass(eq=False)
class Run:
    """``lock`` is held while files are begun, ended or cancelled. Files are by key, and by the id of their transcription.

    ``loose``: jobs the run made whose file it does not know, by submission: the ledger ended between two commits.
    ``revising``: revisions being made, by id of the transcription, as jobs that no table knows yet.
    ``ended``: the lease under which the end of a file was taken, by id of its job, of the last ones: a worker that lost the
    answer repeats within moments.
    """

    archive: Archive
    files: dict[str, ArchiveFile] = field(default_factory=dict)
    by_job: dict[int, str] = field(default_factory=dict)
    loose: dict[str, int] = field(default_factory=dict)
    revising: dict[int, Job] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    counts: ArchiveCounts = field(default_factory=ArchiveCounts)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def put(self, file: ArchiveFile) -> None:
        """Take in the newest state of a file."""
        before = self.files.get(file.key)
        if before is not None:
            self.counts = counted(self.counts, before, -1)
            if before.transcription_id is not None and before.transcription_id != file.transcription_id:
                self.by_job.pop(before.transcription_id, None)
        self.files[file.key] = file
        self.counts = counted(self.counts, file, 1)
        if file.transcription_id is not None:
            self.by_job[file.transcription_id] = file.key

    def took_end(self, job_id: int, lease: str) -> None:
        self.ended[job_id] = lease
        while len(self.ended) > REMEMBERED_ENDS:
            del self.ended[next(iter(self.ended))]

    def of_job(self, job_id: int) -> ArchiveFile | None:
        key = self.by_job.get(job_id)
        return None if key is None else self.files[key]

    def submission(self, file: SourceFile) -> str:
        """What a job of this run is known by within its account, however often it is begun."""
        known_by = "\0".join((self.archive.fingerprint, file.key, file.sha256))
        return hashlib.sha256(known_by.encode()).hexdigest()


def counted(counts: ArchiveCounts, file: ArchiveFile, sign: int) -> ArchiveCounts:
    """``counts`` with a file more (``sign`` 1) or less (-1)."""
    status = file.status.value
    changed = replace(counts, **{status: getattr(counts, status) + sign})
    if file.status is not FileStatus.COMPLETED:
        return changed
    return replace(
        changed,
        cached=changed.cached + sign * file.cached,
        audio_secs=round(changed.audio_secs + sign * (file.audio_secs or 0.0), 3),
        processing_secs=round(changed.processing_secs + sign * (file.processing_secs or 0.0), 3),
        cost_usd=round(changed.cost_usd + sign * (file.cost_usd or 0.0), 6),
    )
