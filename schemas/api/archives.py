"""Bodies of `/operator/archives`. Answers are the values of `schemas.archives` as JSON; requests have their bounds here."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from schemas.api.options import OptionsBody
from schemas.archives import (
    BATCH_FILES,
    Archive,
    ArchiveFile,
    ArchiveKind,
    ArchiveStatus,
    Begun,
    FileDiff,
    FileFailure,
    FileOutcome,
    NewArchive,
    NotedFile,
    Selected,
    SourceFile,
)

METADATA_MAX_CHARS = 16_384

AccountName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
_Text = Annotated[str, StringConstraints(max_length=2048)]
_Reason = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
_Message = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewArchiveBody(_Body):
    """The run to open; the fields of `schemas.archives.NewArchive`."""

    account: AccountName = "default"
    name: str = Field("", max_length=200)
    source: str = Field(min_length=1, max_length=8192, description="Folder, glob, URL, manifest or SQL condition.")
    kind: ArchiveKind = ArchiveKind.TRANSCRIBE
    options: OptionsBody = Field(default_factory=OptionsBody)
    include_current: bool = Field(False, description="Reprocess also transcriptions of the present engines.")

    def value(self) -> NewArchive:
        """The same as a domain value."""
        return NewArchive(self.account, self.name, self.source, self.kind, self.options.value(), self.include_current)


class FileBody(_Body):
    """One file to begin; the fields of `schemas.archives.SourceFile`."""

    key: Key = Field(description="Permanent identity of the file within the run.")
    version: _Text = Field(description="Changes whenever the file changes; can be found without reading it.")
    location: _Text
    account: AccountName
    filename: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    content_type: Annotated[str, StringConstraints(max_length=255)] = "application/octet-stream"
    options: OptionsBody = Field(default_factory=OptionsBody)
    metadata: str = Field("{}", max_length=METADATA_MAX_CHARS, description="A JSON object, as text.")
    transcription_id: int | None = Field(None, ge=1, le=2**63 - 1)

    @field_validator("metadata")
    @classmethod
    def _is_an_object(cls, text: str) -> str:
        return _object(text)

    def value(self) -> SourceFile:
        """The same as a domain value."""
        return SourceFile(**{**dict(self), "options": self.options.value()})


class BeginBody(_Body):
    """Files that a worker wants to process."""

    worker: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_:-]+$")] = Field(
        description="Identifies this attempt at the batch; its leased files stay leased when the request is repeated."
    )
    retry_failed: bool = False
    files: list[FileBody] = Field(min_length=1, max_length=BATCH_FILES)

    @field_validator("files")
    @classmethod
    def _differ(cls, files: list[FileBody]) -> list[FileBody]:
        seen: set[str] = set()
        for file in files:
            if file.key in seen:
                raise ValueError(f"the key {file.key!r} is named twice")
            seen.add(file.key)
        return files


class FailureBody(_Body):
    """Why there is no transcript; the fields of `schemas.archives.FileFailure`."""

    reason: _Reason
    message: _Message
    retryable: bool = False

    def value(self) -> FileFailure:
        """The same as a domain value."""
        return FileFailure(self.reason, self.message, self.retryable)


class NotedBody(_Body):
    """A file that is recorded as failed or skipped without an attempt; the fields of `schemas.archives.NotedFile`."""

    key: Key
    location: _Text
    account: AccountName
    filename: Annotated[str, StringConstraints(max_length=255)]
    failure: FailureBody
    skipped: bool = False
    version: _Text = ""
    size_bytes: int | None = Field(None, ge=0)
    metadata: str = Field("{}", max_length=METADATA_MAX_CHARS)

    @field_validator("metadata")
    @classmethod
    def _is_an_object(cls, text: str) -> str:
        return _object(text)

    def value(self) -> NotedFile:
        """The same as a domain value."""
        return NotedFile(**{**dict(self), "failure": self.failure.value()})


class NoteBody(_Body):
    """Files to record as failed or skipped."""

    files: list[NotedBody] = Field(min_length=1, max_length=BATCH_FILES)


class LeaseBody(_Body):
    """A leased file: its job and the lease."""

    job_id: int = Field(ge=1, le=2**63 - 1)
    lease: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class LeasesBody(_Body):
    """Leases to release, or to renew."""

    leases: list[LeaseBody] = Field(max_length=BATCH_FILES)

    def value(self) -> dict[int, str]:
        """Leases by job id."""
        return {one.job_id: one.lease for one in self.leases}


class RenewedBody(LeasesBody):
    """Leases to renew."""

    waiting: set[int] = Field(
        default_factory=set,
        max_length=BATCH_FILES,
        description="Jobs of these leases on which work has not begun: they are not attempted yet.",
    )


class EndedBody(LeaseBody):
    """The end of a leased file: a transcript or a failure, and how many bytes of the tail are its playback copy."""

    transcript: dict[str, Any] | None = None
    failure: FailureBody | None = None
    playback_bytes: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_one_result(self) -> EndedBody:
        if (self.transcript is None) == (self.failure is None):
            raise ValueError("give either a transcript or a failure")
        return self


class RecordingBody(_Body):
    """One recording in the tail of a packed body: its account, its hash and its size."""

    account: AccountName
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class RecordingsBody(_Body):
    """The head of a packed body whose tail is these recordings, one after the other."""

    files: list[RecordingBody] = Field(min_length=1, max_length=BATCH_FILES)


class KeysBody(_Body):
    """Keys of files to look up."""

    keys: list[Key] = Field(max_length=BATCH_FILES)


class EndBody(_Body):
    """How a run ended."""

    status: Literal[ArchiveStatus.COMPLETED, ArchiveStatus.FAILED]
    message: _Message | None = None


class QuestionBody(_Body):
    """A recording for which a cached result may exist."""

    account: AccountName
    sha256: Sha256
    options: OptionsBody = Field(default_factory=OptionsBody)


class QuestionsBody(_Body):
    """Recordings for which cached results may exist."""

    files: list[QuestionBody] = Field(max_length=BATCH_FILES)


class SelectBody(_Body):
    """The transcriptions to reprocess, and the page of them."""

    where: str = Field(min_length=1, max_length=8192, description="SQL condition over the columns of `transcriptions`.")
    account: AccountName | None = None
    include_current: bool = False
    after: int = Field(0, ge=0, description="Id of the last transcription on the previous page.")
    limit: int = Field(1000, ge=1, le=1000)


class Archives(BaseModel):
    """All runs, newest first."""

    archives: list[Archive]


class Files(BaseModel):
    """Files of a run."""

    files: list[ArchiveFile]


class FilePage(Files):
    """One page of the files of a run."""

    next_after: str | None = Field(description="`after` of the next page; null on the last one.")


class BegunFiles(BaseModel):
    """The answer to `BeginBody`: one entry for each file."""

    files: list[Begun] = Field(description="In the order of the request.")
    engine_revision: str


class Outcomes(BaseModel):
    """The answer to finished files: one outcome for each."""

    files: list[FileOutcome] = Field(description="In the order of the request.")


class Refusal(BaseModel):
    """Why a recording was not stored."""

    error: str = Field(description="Error code.")
    message: str


class Received(BaseModel):
    """The answer to recordings that were sent together."""

    files: list[Refusal | None] = Field(description="In the order of the request; null where it was stored.")


class Lost(BaseModel):
    """The answer to a renewal."""

    lost: list[int] = Field(description="Jobs whose lease was lost: stop working on them.")


class Answered(BaseModel):
    """The answer to `QuestionsBody`."""

    cached: list[bool] = Field(description="In the order of the request: whether a cached result exists.")
    engine_revision: str


class Selection(BaseModel):
    """One page of the transcriptions that a condition selects."""

    transcriptions: list[Selected]
    next_after: int | None = Field(description="`after` of the next page; null on the last one.")


class DiffPage(BaseModel):
    """One page of comparisons between two revisions."""

    files: list[FileDiff]
    next_after: str | None = Field(description="`after` of the next page; null on the last one.")


def _object(text: str) -> str:
    if not isinstance(json.loads(text), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - Pydantic takes ValueError for a wrong value
    return text
