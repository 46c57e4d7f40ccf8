"""What one Dask task of an archive is told, and how entries of a source are named in the ledger. Values without secrets."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from flows.sources.entries import Entry, Problem
from flows.sources.opening import canonical, open_source
from flows.sources.reading import Fetched, shown
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
from schemas.domain import JobOptions, SpeakerHint

_NAME_CHARS = 200
_FILENAME_CHARS = 255
_KEY_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Order:
    """A batch: entries of a source, or transcriptions to be done again. ``worker`` names this batch of this run."""

    archive_id: int
    account: str
    options: JobOptions
    worker: str
    retry_failed: bool
    entries: tuple[Entry, ...] = ()
    files: tuple[SourceFile, ...] = ()

    @property
    def accounts(self) -> set[str]:
        """Whose recordings are in it."""
        return {entry.account or self.account for entry in self.entries} | {file.account for file in self.files}

    def dumps(self) -> str:
        fields = {name: getattr(self, name) for name in ("archive_id", "account", "worker", "retry_failed")}
        entries = [entry.to_json() for entry in self.entries]
        files = [asdict(file) for file in self.files]
        return orjson.dumps({**fields, "options": asdict(self.options), "entries": entries, "files": files}).decode()

    @classmethod
    def loads(cls, text: str) -> Order:
        data: dict[str, Any] = orjson.loads(text)
        entries = tuple(Entry.from_json(one) for one in data["entries"])
        files = tuple(SourceFile(**{**one, "options": _options(one["options"])}) for one in data["files"])
        return cls(**{**data, "options": _options(data["options"]), "entries": entries, "files": files})


def new_archive(
    source: str, account: str, name: str, options: JobOptions, *, reprocess: bool, include_current: bool
) -> NewArchive:
    """The run that is asked for; what is no source at all is refused here, before anything is written down.

    Raises NotFound, InvalidRequest.
    """
    if reprocess:
        text = re.sub(r"^\s*where\b", "", source, flags=re.IGNORECASE).strip()
    else:
        text = canonical(source)
        open_source(text, options)
    kind = ArchiveKind.REPROCESS if reprocess else ArchiveKind.TRANSCRIBE
    return NewArchive(account, (name or text)[:_NAME_CHARS], text, kind, options, include_current)


def is_settled(known: ArchiveFile, version: str, *, retry_failed: bool) -> bool:
    """Whether nothing is to be done about a file that has this ``version`` now; an empty one tells nothing."""
    if not known.status.is_settled or known.version != version or not version:
        return False
    if known.status is FileStatus.FAILED:
        return not retry_failed
    return known.reason != CANCELLED_WITH_RUN


def key_of(entry: Entry) -> str:
    """An entry's name within its run: where it lies, and whose it is if not the run's account's.

    What a web address asks for is hashed: it may be a signature, and is no business of those who read the ledger.
    """
    place = shown(entry.location)
    if place != entry.location:
        place += "#" + hashlib.blake2b(entry.location.encode(), digest_size=8).hexdigest()
    key = place if entry.account is None else f"{entry.account}@{place}"
    return key if len(key) <= _KEY_CHARS else hashlib.sha256(key.encode()).hexdigest()


def source_file(order: Order, entry: Entry, fetched: Fetched, version: str) -> SourceFile:
    return SourceFile(
        key=key_of(entry),
        version=version,
        location=_where(entry.location, entry.place),
        account=entry.account or order.account,
        filename=entry.filename[-_FILENAME_CHARS:],
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        content_type=mimetypes.guess_type(entry.filename)[0] or "application/octet-stream",
        options=entry.options or order.options,
        metadata=orjson.dumps(entry.metadata).decode(),
    )


def selected_file(found: Selected) -> SourceFile:
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
    """A file that was begun before, from what the ledger knows of it: its bytes are in the store. None if it never was."""
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


def noted_entry(order: Order, entry: Entry, version: str, failure: FileFailure, *, skipped: bool) -> NotedFile:
    return NotedFile(
        key=key_of(entry),
        location=_where(entry.location, entry.place),
        account=entry.account or order.account,
        filename=entry.filename[-_FILENAME_CHARS:],
        failure=failure,
        skipped=skipped,
        version=version,
        metadata=orjson.dumps(entry.metadata).decode(),
    )


def noted_problem(account: str, problems: Sequence[Problem]) -> list[NotedFile]:
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
    text = f"{place}: {shown(location)}" if place else shown(location)
    return text[:_KEY_CHARS]


def _options(data: dict[str, Any]) -> JobOptions:
    return JobOptions(data["non_speech"], SpeakerHint(**data["speakers"]))
