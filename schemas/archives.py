"""Archives: many recordings worked on as one run, and what is known of each of its files. Frozen values, as in `domain`.

The run's account is the owner of files that name none of their own.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.domain import JobOptions, Outcome, Seconds, Span, Transcript

CANCELLED_WITH_RUN = "archive_cancelled"
"""Reason of files that were cancelled with their run: they are begun again when it goes on."""
BATCH_FILES = 100
"""Most files one call of the operator API is about."""
SMALL_FILE_BYTES = 2**20
"""Recordings and playback copies up to this size travel with others in one body: a call costs more than their bytes."""
PORTION_BYTES = 8 * 2**20
"""Most bytes of small recordings in one body."""


class ArchiveKind(StrEnum):
    TRANSCRIBE = "transcribe"
    """Files from somewhere become transcriptions."""
    REPROCESS = "reprocess"
    """Transcriptions get a new revision."""


class ArchiveStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    """All that could be done is done; single files may have failed."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The run itself could not go on, as when its source vanished."""


class FileStatus(StrEnum):
    WAITING = "waiting"
    """Begun before, and free to be begun again: its lease ran out, or its failure may pass."""
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Left out on purpose: a duplicate, not audio, cancelled, deleted."""

    @property
    def is_settled(self) -> bool:
        return self not in (FileStatus.WAITING, FileStatus.PROCESSING)


class BeginState(StrEnum):
    """What became of a file that was to be begun."""

    LEASED = "leased"
    """Work on it, under the lease."""
    DONE = "done"
    """Nothing to do; the file's status says why."""
    NEEDS_BYTES = "needs_bytes"
    """Send its bytes, then begin it again."""
    HELD = "held"
    """Another worker's; it may be free in ``retry_after_secs``."""


@dataclass(frozen=True, slots=True)
class NewArchive:
    """A run as it is asked for. The same account, kind, source and options name the same run."""

    account: str
    name: str
    source: str
    """As the operator wrote it: a folder, a pattern, a URL, a manifest, a condition."""
    kind: ArchiveKind = ArchiveKind.TRANSCRIBE
    options: JobOptions = field(default_factory=JobOptions)
    include_current: bool = False
    """Whether a reprocessing also does again what the present engines made."""


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """How many files are in each state, and sums over the completed ones."""

    waiting: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cached: int = 0
    """Of the completed: answered by an earlier result."""
    audio_secs: Seconds = 0.0
    processing_secs: Seconds = 0.0
    cost_usd: float = 0.0

    @property
    def total(self) -> int:
        return self.waiting + self.processing + self.completed + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Archive:
    """A run as the ledger knows it. ``engine_revision`` is the one it was last opened with."""

    id: int
    account: str
    name: str
    kind: ArchiveKind
    source: str
    options: JobOptions
    include_current: bool
    fingerprint: str
    engine_revision: str
    status: ArchiveStatus
    created_at: dt.datetime
    updated_at: dt.datetime
    message: str | None = None
    """Why it failed, in words for the operator."""
    counts: ArchiveCounts = field(default_factory=ArchiveCounts)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file as its source tells it.

    ``key`` names it within the run for good: the same key with the same ``sha256`` is the same work. ``version`` tells
    without reading the file whether it is still the one that was hashed (a size and time of change, an ETag).
    """

    key: str
    version: str
    location: str
    """Where it lies, for people: a path, a URL, a manifest's line."""
    account: str
    filename: str
    sha256: str
    size_bytes: int
    content_type: str = "application/octet-stream"
    options: JobOptions = field(default_factory=JobOptions)
    metadata: str = "{}"
    """Columns of its own that a manifest had, as a JSON object."""
    transcription_id: int | None = None
    """In a reprocessing: the transcription that gets a new revision."""


@dataclass(frozen=True, slots=True)
class FileFailure:
    """Why there is no transcript. ``reason`` is a word for programs (``not_audio``), ``message`` is for people."""

    reason: str
    message: str
    retryable: bool = False
    """Whether trying again later may help; it is, as long as attempts last."""


@dataclass(frozen=True, slots=True)
class NotedFile:
    """A file that never came to work: it is recorded as failed, or as skipped."""

    key: str
    location: str
    account: str
    filename: str
    failure: FileFailure
    skipped: bool = False
    version: str = ""
    size_bytes: int | None = None
    metadata: str = "{}"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """What is known of one file: a row of ``archive_files``."""

    archive_id: int
    key: str
    version: str
    location: str
    account: str
    filename: str
    metadata: str
    status: FileStatus
    updated_at: dt.datetime
    sha256: str | None = None
    size_bytes: int | None = None
    reason: str | None = None
    message: str | None = None
    attempts: int = 0
    transcription_id: int | None = None
    revision: int | None = None
    """Of the transcription, that this run made or is making."""
    audio_secs: Seconds | None = None
    processing_secs: Seconds | None = None
    cached: bool = False
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Leave to work on a file for ``lease_secs`` from now; every later word about it must show ``lease``."""

    job_id: int
    attempt: int
    lease: str
    lease_secs: Seconds


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer to beginning one file: ``lease`` if it is LEASED, ``file`` if it is DONE."""

    state: BeginState
    lease: Lease | None = None
    file: ArchiveFile | None = None
    retry_after_secs: Seconds | None = None


@dataclass(frozen=True, slots=True)
class EndedFile:
    """What a worker reports of a file it had leased: a transcript, or why there is none.

    ``playback``: the playback copy (Ogg Opus), where it was not sent before.
    """

    job_id: int
    lease: str
    result: Transcript | FileFailure
    playback: bytes = b""


@dataclass(frozen=True, slots=True)
class FileEnd:
    """An `EndedFile` on its way into the ledger, its result object written. ``transcript`` saves reading that back."""

    job_id: int
    lease: str
    result: Outcome | FileFailure
    transcript: Transcript | None = None


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What the ledger made of an `EndedFile`; ``error`` is the code of why it was not taken (``lease_lost``)."""

    job_id: int
    status: FileStatus | None = None
    error: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Files of a run that failed, or were skipped, for one reason, with one of them as an example."""

    status: FileStatus
    reason: str
    count: int
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """A run in numbers. ``active_secs``: time in which at least one file was being worked on."""

    archive: Archive
    active_secs: Seconds
    x_realtime: float | None
    """Recognised audio over active time; None where nothing was recognised."""
    failures: tuple[FailureGroup, ...] = ()

    @property
    def hours(self) -> float:
        return self.archive.counts.audio_secs / 3600


@dataclass(frozen=True, slots=True)
class Selected:
    """A transcription that a reprocessing would do again."""

    id: int
    account: str
    filename: str
    sha256: str
    size_bytes: int
    audio_key: str
    options: JobOptions
    engine_revision: str
    audio_secs: Seconds
    revision: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A stretch in which two revisions differ, with the words of each."""

    span: Span
    errors: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class FileDiff:
    """Two revisions of one transcription. ``errors`` are word substitutions, insertions and deletions from old to new."""

    transcription_id: int
    filename: str
    account: str
    old_revision: int
    new_revision: int
    audio_secs: Seconds
    old_words: int
    new_words: int
    errors: int
    old_speakers: int
    new_speakers: int
    differences: tuple[Difference, ...] = ()
    problem: str | None = None
    """Why the two could not be compared; then all numbers are 0."""

    @property
    def word_error_rate(self) -> float:
        """Errors for each old word; words where there were none count as one error each."""
        return self.errors / max(1, self.old_words)
