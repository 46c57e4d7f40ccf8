"""The state of one running archive in memory: its files, their counts, and pending revisions."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

from schemas.archives import Archive, ArchiveCounts, ArchiveFile, FileStatus, SourceFile
from schemas.domain import Job

MAX_COMPLETIONS = 10_000
DELETED = "deleted"
"""``reason`` of files whose transcription was deleted. They are not transcribed again unless their content changes."""


@dataclass(eq=False)
class ArchiveRunState:
    """State of a run. ``lock`` is held while files are begun, finished, released or cancelled."""

    archive: Archive
    files: dict[str, ArchiveFile] = field(default_factory=dict)
    """Files by key."""
    key_of_job: dict[int, str] = field(default_factory=dict)
    unassigned_jobs: dict[str, int] = field(default_factory=dict)
    """Job ids by submission, of jobs of this run that no file names because the ledger ended between two commits."""
    pending_revisions: dict[int, Job] = field(default_factory=dict)
    """Pending revisions by job id, as jobs that are in no table yet."""
    completions: dict[int, str] = field(default_factory=dict)
    """Leases of the files finished last, by job id. A worker that lost the answer repeats its call soon."""
    counts: ArchiveCounts = field(default_factory=ArchiveCounts)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def put(self, file: ArchiveFile) -> None:
        """Replace the state of a file."""
        before = self.files.get(file.key)
        if before is not None:
            self.counts = counted(self.counts, before, -1)
            if before.transcription_id is not None and before.transcription_id != file.transcription_id:
                self.key_of_job.pop(before.transcription_id, None)
        self.files[file.key] = file
        self.counts = counted(self.counts, file, 1)
        if file.transcription_id is not None:
            self.key_of_job[file.transcription_id] = file.key

    def record_completion(self, job_id: int, lease: str) -> None:
        """Remember the lease under which the file of a job was finished."""
        self.completions[job_id] = lease
        while len(self.completions) > MAX_COMPLETIONS:
            del self.completions[next(iter(self.completions))]

    def file_of_job(self, job_id: int) -> ArchiveFile | None:
        """The file whose transcription is job ``job_id``; None if the run has none."""
        key = self.key_of_job.get(job_id)
        return None if key is None else self.files[key]

    def submission(self, file: SourceFile) -> str:
        """Identity of a file's job within its account: the same run, key and content always give the same identity."""
        known_by = "\0".join((self.archive.fingerprint, file.key, file.sha256))
        return hashlib.sha256(known_by.encode()).hexdigest()


def counted(counts: ArchiveCounts, file: ArchiveFile, sign: int) -> ArchiveCounts:
    """``counts`` with one file added (``sign`` 1) or removed (-1)."""
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
