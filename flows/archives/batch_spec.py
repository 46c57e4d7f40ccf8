"""The argument of an archive's Dask task, and how entries of a source are named in the ledger. Holds no secrets."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from flows.archives.sources.entries import Entry, Problem, filename_of
from flows.archives.sources.factory import canonical, open_source
from flows.archives.sources.fetch import Fetched, redact_url
from schemas.archives import (
    CANCELLED_WITH_RUN,
    ArchiveFile,
    ArchiveKind,
    FileFailure,
    FileStatus,
    NewArchive,
    NotedFile,
    Selected,
    SourceFile,
)
from schemas.domain import JobOptions

_NAME_CHARS = 200
_FILENAME_CHARS = 255
_KEY_CHARS = 2048


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """One batch: entries of a source, or transcriptions to reprocess. ``worker`` identifies this batch of this run."""

    archive_id: int
    account: str
    options: JobOptions
    worker: str
    retry_failed: bool
    entries: tuple[Entry, ...] = ()
    files: tuple[SourceFile, ...] = ()

    @property
    def accounts(self) -> set[str]:
        """Accounts that own its recordings."""
        return {entry.account or self.account for entry in self.entries} | {file.account for file in self.files}

    def dumps(self) -> str:
        """As JSON, the form in which Dask and Prefect carry it."""
        fields = {name: getattr(self, name) for name in ("archive_id", "account", "worker", "retry_failed")}
        entries = [entry.to_json() for entry in self.entries]
        files = [asdict(file) for file in self.files]
        return orjson.dumps({**fields, "options": asdict(self.options), "entries": entries, "files": files}).decode()

    @classmethod
    def loads(cls, text: str) -> BatchSpec:
        """The inverse of `dumps`."""
        data: dict[str, Any] = orjson.loads(text)
        entries = tuple(Entry.from_json(one) for one in data["entries"])
        files = tuple(SourceFile(**{**one, "options": JobOptions.from_json(one["options"])}) for one in data["files"])
        return cls(**{**data, "options": JobOptions.from_json(data["options"]), "entries": entries, "files": files})


def new_archive(
    source: str, account: str, name: str, options: JobOptions, *, reprocess: bool, include_current: bool
) -> NewArchive:
    """The run to open; with ``reprocess`` its source is an SQL condition, with or without ``where``.

    Raises NotFound or InvalidRequest for an unusable source, before anything is stored.
    """
    if reprocess:
        text = re.sub(r"^\s*where\b", "", source, flags=re.IGNORECASE).strip()
    else:
        text = canonical(source)
        open_source(text, options)
    kind = ArchiveKind.REPROCESS if reprocess else ArchiveKind.TRANSCRIBE
    return NewArchive(account, (name or text)[:_NAME_CHARS], text, kind, options, include_current)


def is_settled(known: ArchiveFile, version: str, *, retry_failed: bool) -> bool:
    """Whether a file that now has this ``version`` needs no work. An empty version is unknown, so it does."""
    if not known.status.is_settled or known.version != version or not version:
        return False
    if known.status is FileStatus.FAILED:
        return not retry_failed
    return known.reason != CANCELLED_WITH_RUN


def key_of(entry: Entry) -> str:
    """An entry's key within its run: its location, and its account if that is not the run's.

    The query of a web address is hashed, because it may hold a signature, which must not be readable in the ledger.
    """
    place = redact_url(entry.location)
    if place != entry.location:
        place += "#" + hashlib.blake2b(entry.location.encode(), digest_size=8).hexdigest()
    key = place if entry.account is None else f"{entry.account}@{place}"
    return key if len(key) <= _KEY_CHARS else hashlib.sha256(key.encode()).hexdigest()


def source_file(spec: BatchSpec, entry: Entry, fetched: Fetched, version: str) -> SourceFile:
    """A fetched entry, as the ledger takes it. A name that a web server gave counts where the source gave none."""
    named = entry.filename != filename_of(entry.location) or fetched.filename is None
    filename = entry.filename if named else fetched.filename or entry.filename
    return SourceFile(
        key=key_of(entry),
        version=version,
        location=_where(entry.location, entry.place),
        account=entry.account or spec.account,
        filename=filename[-_FILENAME_CHARS:],
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        content_type=mimetypes.guess_type(filename)[0] or "application/octet-stream",
        options=entry.options or spec.options,
        metadata=orjson.dumps(entry.metadata).decode(),
    )


def selected_file(found: Selected) -> SourceFile:
    """A transcription to reprocess, as the ledger takes it."""
    return SourceFile(
        key=f"transcription/{found.id}",
        version=str(found.revision),
        location=f"transcription {found.id}",
        account=found.account,
        filename=found.filename,
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        options=found.options,
        transcription_id=found.id,
    )


def begun_file(known: ArchiveFile, kind: ArchiveKind, options: JobOptions) -> SourceFile | None:
    """A file that an earlier run began, whose bytes are in the store; None if none did."""
    if known.status.is_settled or known.sha256 is None or known.size_bytes is None:
        return None
    return SourceFile(
        key=known.key,
        version=known.version,
        location=known.location,
        account=known.account,
        filename=known.filename,
        sha256=known.sha256,
        size_bytes=known.size_bytes,
        options=options,
        metadata=known.metadata,
        transcription_id=known.transcription_id if kind is ArchiveKind.REPROCESS else None,
    )


def noted_entry(spec: BatchSpec, entry: Entry, version: str, failure: FileFailure, *, skipped: bool) -> NotedFile:
    """An entry that could not be fetched, with the reason."""
    return NotedFile(
        key=key_of(entry),
        location=_where(entry.location, entry.place),
        account=entry.account or spec.account,
        filename=entry.filename[-_FILENAME_CHARS:],
        failure=failure,
        skipped=skipped,
        version=version,
        metadata=orjson.dumps(entry.metadata).decode(),
    )


def noted_problem(account: str, problems: Sequence[Problem]) -> list[NotedFile]:
    """Problems of a source, such as rows of a manifest that cannot be used."""
    return [
        NotedFile(
            key=one.location,
            location=_where(one.location.partition("#")[0] if one.place else one.location, one.place),
            account=account,
            filename="",
            failure=FileFailure(one.code, one.message),
            skipped=one.code == "duplicate_path",
        )
        for one in problems
    ]


def _where(location: str, place: str) -> str:
    text = f"{place}: {redact_url(location)}" if place else redact_url(location)
    return text[:_KEY_CHARS]
