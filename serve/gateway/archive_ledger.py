"""The ledger's words for archives, as routes see them: behind Ray, or in the same process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from schemas.archives import (
    Archive,
    ArchiveFile,
    ArchiveStatus,
    Begun,
    FileEnd,
    FileOutcome,
    NewArchive,
    NotedFile,
    SourceFile,
)
from schemas.domain import Job, NewJob


class ArchiveLedger(Protocol):
    """Part of `serve.gateway.services.LedgerClient`; see `lakehouse.ledger.archives`."""

    async def open_archive(self, new: NewArchive, engine_revision: str) -> Archive: ...
    async def list_archives(self) -> list[Archive]: ...
    async def find_archive(self, archive_id: int) -> Archive: ...
    async def known_files(self, archive_id: int, keys: Sequence[str]) -> list[ArchiveFile]: ...
    async def begin_files(
        self,
        archive_id: int,
        worker: str,
        files: Sequence[SourceFile],
        stored: Sequence[bool],
        engine_revision: str,
        retry_failed: bool,
    ) -> list[Begun]: ...
    async def renew_files(self, archive_id: int, leases: Mapping[int, str]) -> list[int]: ...
    async def leased_files(self, archive_id: int, leases: Sequence[tuple[int, str]]) -> list[Job | FileOutcome]: ...
    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]: ...
    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None: ...
    async def note_files(self, archive_id: int, noted: Sequence[NotedFile]) -> None: ...
    async def end_archive(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive: ...
    async def cancel_archive(self, archive_id: int) -> Archive: ...
    async def answered(self, questions: Sequence[NewJob]) -> list[bool]: ...
