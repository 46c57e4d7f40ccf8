"""Bodies of `/operator/archives`. Answers are the values of `schemas.archives` as JSON; requests have their bounds here."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

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
from schemas.domain import JobOptions, SpeakerHint

METADATA_MAX_CHARS = 16_384

AccountName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
_Text = Annotated[str, StringConstraints(max_length=2048)]
_Reason = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
_Message = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
_Speakers = Annotated[int, Field(ge=1, le=100)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SpeakersBody(_Body):
    least: _Speakers = 1
    most: _Speakers | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> SpeakersBody:
        if self.most is not None and self.least > self.most:
            raise ValueError(f"least is {self.least} and most {self.most}: no number is both")
        return self


class OptionsBody(_Body):
    non_speech: bool = False
    speakers: SpeakersBody = Field(default_factory=SpeakersBody)

    def value(self) -> JobOptions:
        return JobOptions(self.non_speech, SpeakerHint(self.speakers.least, self.speakers.most))


class NewArchiveBody(_Body):
    account: AccountName = "default"
    name: str = Field("", max_length=200)
    source: str = Field(min_length=1, max_length=8192, description="As the operator wrote it.")
    kind: ArchiveKind = ArchiveKind.TRANSCRIBE
    options: OptionsBody = Field(default_factory=OptionsBody)
    include_current: bool = Field(False, description="Reprocess also what the present engines made.")

    def value(self) -> NewArchive:
        return NewArchive(self.account, self.name, self.source, self.kind, self.options.value(), self.include_current)


class FileBody(_Body):
    key: Key = Field(description="Names the file within the run for good.")
    version: _Text = Field(description="Tells without reading the file whether it changed.")
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
        return SourceFile(**{**dict(self), "options": self.options.value()})


class BeginBody(_Body):
    worker: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_:-]+$")] = Field(
        description="Names this one attempt at the batch; asked again under it, files it holds are leased to it still."
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
    reason: _Reason
    message: _Message
    retryable: bool = False

    def value(self) -> FileFailure:
        return FileFailure(self.reason, self.message, self.retryable)


class NotedBody(_Body):
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
        return NotedFile(**{**dict(self), "failure": self.failure.value()})


class NoteBody(_Body):
    files: list[NotedBody] = Field(min_length=1, max_length=BATCH_FILES)


class LeaseBody(_Body):
    job_id: int = Field(ge=1, le=2**63 - 1)
    lease: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class LeasesBody(_Body):
    leases: list[LeaseBody] = Field(max_length=BATCH_FILES)

    def value(self) -> dict[int, str]:
        return {one.job_id: one.lease for one in self.leases}


class EndedBody(LeaseBody):
    """Exactly one of ``transcript`` and ``failure``; so many bytes of those behind the head are the playback copy."""

    transcript: dict[str, Any] | None = None
    failure: FailureBody | None = None
    playback_bytes: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_one_result(self) -> EndedBody:
        if (self.transcript is None) == (self.failure is None):
            raise ValueError("give either a transcript or a failure")
        return self


class RecordingBody(_Body):
    account: AccountName
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class RecordingsBody(_Body):
    """The head of a body that holds recordings, one behind the other."""

    files: list[RecordingBody] = Field(min_length=1, max_length=BATCH_FILES)


class KeysBody(_Body):
    keys: list[Key] = Field(max_length=BATCH_FILES)


class EndBody(_Body):
    status: Literal[ArchiveStatus.COMPLETED, ArchiveStatus.FAILED]
    message: _Message | None = None


class QuestionBody(_Body):
    account: AccountName
    sha256: Sha256
    options: OptionsBody = Field(default_factory=OptionsBody)


class QuestionsBody(_Body):
    files: list[QuestionBody] = Field(max_length=BATCH_FILES)


class SelectBody(_Body):
    where: str = Field(min_length=1, max_length=8192, description="SQL condition over the columns of `transcriptions`.")
    account: AccountName | None = None
    include_current: bool = False
    after: int = Field(0, ge=0, description="Id of the last one on the page before.")
    limit: int = Field(1000, ge=1, le=1000)


class Archives(BaseModel):
    archives: list[Archive]


class Files(BaseModel):
    files: list[ArchiveFile]


class FilePage(Files):
    next_after: str | None = Field(description="Key to go on after; null on the last page.")


class BegunFiles(BaseModel):
    files: list[Begun] = Field(description="In the order asked.")
    engine_revision: str


class Outcomes(BaseModel):
    files: list[FileOutcome] = Field(description="In the order given.")


class Refusal(BaseModel):
    error: str = Field(description="Code of why it was not taken.")
    message: str


class Received(BaseModel):
    files: list[Refusal | None] = Field(description="In the order given; null for what is stored.")


class Lost(BaseModel):
    lost: list[int] = Field(description="Jobs whose lease is another's, or over: stop working on them.")


class Answered(BaseModel):
    cached: list[bool] = Field(description="In the order asked: whether an earlier result answers it.")
    engine_revision: str


class Selection(BaseModel):
    transcriptions: list[Selected]
    next_after: int | None = Field(description="Id to go on after; null on the last page.")


class DiffPage(BaseModel):
    files: list[FileDiff]
    next_after: str | None = Field(description="Key to go on after; null on the last page.")


def _object(text: str) -> str:
    if not isinstance(json.loads(text), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - Pydantic takes ValueError for a wrong value
    return text
