"""Archives: runs over many recordings, and the state of each file. Frozen values, as in `schemas.domain`.

Files that name no account of their own belong to the run's account.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.domain import JobOptions, Outcome, Seconds, Span, Transcript

CANCELLED_WITH_RUN = "archive_cancelled"
"""Reason of files that were cancelled with their run. They are begun again when the run is resumed."""
BATCH_FILES = 100
"""Most files in one call of the operator API."""
SMALL_FILE_BYTES = 2**20
"""Recordings and playback copies up to this size share a body, because a call costs more than its bytes."""
PORTION_BYTES = 8 * 2**20
"""Most bytes of small recordings in one body."""


class ArchiveKind(StrEnum):
    """What a run does."""

    TRANSCRIBE = "transcribe"
    """Files of a source become transcriptions."""
    REPROCESS = "reprocess"
    """Transcriptions get a new revision."""


class ArchiveStatus(StrEnum):
    """The state of a run."""

    RUNNING = "running"
    COMPLETED = "completed"
    """Every file is finished; single files may have failed."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The run itself could not continue, for example because its source is gone."""


class FileStatus(StrEnum):
    """The state of one file of a run."""

    WAITING = "waiting"
    """Begun before and free to be begun again: its lease expired, or its failure was temporary."""
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not to be transcribed: a duplicate, not audio, cancelled, deleted."""

    @property
    def is_settled(self) -> bool:
        """Whether the run has nothing left to do for the file."""
        return self not in (FileStatus.WAITING, FileStatus.PROCESSING)


class BeginState(StrEnum):
    """The answer to beginning a file."""

    LEASED = "leased"
    """The worker must process it, under the lease."""
    DONE = "done"
    """Nothing to do; the file's status says why."""
    NEEDS_BYTES = "needs_bytes"
    """Send its bytes, then begin it again."""
    HELD = "held"
    """Another worker has the lease; the file may be free in ``retry_after_secs``."""


@dataclass(frozen=True, slots=True)
class NewArchive:
    """A run to open. The same account, kind, source and options identify the same run."""

    account: str
    name: str
    source: str
    """As the operator wrote it: a folder, a glob, a URL, a manifest, or an SQL condition."""
    kind: ArchiveKind = ArchiveKind.TRANSCRIBE
    options: JobOptions = field(default_factory=JobOptions)
    include_current: bool = False
    """Whether a reprocessing includes transcriptions that the present engines made."""


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """How many files are in each state, and sums over the completed ones."""

    waiting: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cached: int = 0
    """Completed ones for which a cached result was used."""
    audio_secs: Seconds = 0.0
    processing_secs: Seconds = 0.0
    cost_usd: float = 0.0

    @property
    def total(self) -> int:
        """Files in any state."""
        return self.waiting + self.processing + self.completed + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Archive:
    """A run in the ledger. ``engine_revision`` is that of its last opening."""

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
    """Why it failed, for the operator."""
    counts: ArchiveCounts = field(default_factory=ArchiveCounts)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    ``key`` permanently identifies it within the run: the same key with the same ``sha256`` is the same work. ``version``
    changes whenever the bytes change, and can be found without reading them (size and modification time, or an ETag).
    """

    key: str
    version: str
    location: str
    """Its location in readable form: a path, a URL, a line of a manifest."""
    account: str
    filename: str
    sha256: str
    size_bytes: int
    content_type: str = "application/octet-stream"
    options: JobOptions = field(default_factory=JobOptions)
    metadata: str = "{}"
    """The manifest's other columns, as a JSON object."""
    transcription_id: int | None = None
    """In a reprocessing: the transcription that gets a new revision."""


@dataclass(frozen=True, slots=True)
class FileFailure:
    """The reason why there is no transcript.

    ``reason`` is a code for programs (``not_audio``), ``message`` is for users.
    """

    reason: str
    message: str
    retryable: bool = False
    """Whether another attempt may succeed; it is made while attempts are left."""


@dataclass(frozen=True, slots=True)
class NotedFile:
    """A file that is recorded as failed or skipped without an attempt."""

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
    """The state of one file: a row of ``archive_files``."""

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
    """The exclusive right to work on a file for ``lease_secs`` from now; every later call about it must send ``lease``."""

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
    """A worker's report on a leased file: a transcript or a failure.

    ``playback``: the playback copy (Ogg Opus), if it was not sent before.
    """

    job_id: int
    lease: str
    result: Transcript | FileFailure
    playback: bytes = b""


@dataclass(frozen=True, slots=True)
class FileEnd:
    """An `EndedFile` whose result object is stored; with ``transcript`` the ledger need not read that object."""

    job_id: int
    lease: str
    result: Outcome | FileFailure
    transcript: Transcript | None = None


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The answer to an `EndedFile`; ``error`` is the code of why it was not accepted (``lease_lost``)."""

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
    """Numbers of a run. ``active_secs``: time during which at least one file was in progress."""

    archive: Archive
    active_secs: Seconds
    x_realtime: float | None
    """Recognised audio over active time; None where nothing was recognised."""
    failures: tuple[FailureGroup, ...] = ()

    @property
    def hours(self) -> float:
        """Hours of recognised audio."""
        return self.archive.counts.audio_secs / 3600


@dataclass(frozen=True, slots=True)
class Selected:
    """A transcription that a reprocessing would give a new revision."""

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
    """One interval in which two revisions differ, with the words of each."""

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
        """Errors per old word; without old words, the number of errors."""
        return self.errors / max(1, self.old_words)
