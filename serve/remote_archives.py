"""The ledger's words for archives over Ray. All may be repeated, so all are tried again while the actor restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


class RemoteArchives:
    """Part of `serve.ledger.RemoteLedger`."""

    async def _call(self, method: str, *args: Any) -> Any:
        raise NotImplementedError

    async def open_archive(self, new: NewArchive, engine_revision: str) -> Archive:
        return await self._call("open_archive", new, engine_revision)  # type: ignore[no-any-return]

    async def list_archives(self) -> list[Archive]:
        return await self._call("list_archives")  # type: ignore[no-any-return]

    async def find_archive(self, archive_id: int) -> Archive:
        return await self._call("find_archive", archive_id)  # type: ignore[no-any-return]

    async def known_files(self, archive_id: int, keys: Sequence[str]) -> list[ArchiveFile]:
        return await self._call("known_files", archive_id, keys)  # type: ignore[no-any-return]

    async def begin_files(
        self,
        archive_id: int,
        worker: str,
        files: Sequence[SourceFile],
        stored: Sequence[bool],
        engine_revision: str,
        retry_failed: bool,
    ) -> list[Begun]:
        asked = (archive_id, worker, files, stored, engine_revision, retry_failed)
        return await self._call("begin_files", *asked)  # type: ignore[no-any-return]

    async def renew_files(self, archive_id: int, leases: Mapping[int, str]) -> list[int]:
        return await self._call("renew_files", archive_id, leases)  # type: ignore[no-any-return]

    async def leased_files(self, archive_id: int, leases: Sequence[tuple[int, str]]) -> list[Job | FileOutcome]:
        return await self._call("leased_files", archive_id, leases)  # type: ignore[no-any-return]

    async def finish_files(self, archive_id: int, ended: Sequence[FileEnd]) -> list[FileOutcome]:
        return await self._call("finish_files", archive_id, ended)  # type: ignore[no-any-return]

    async def release_files(self, archive_id: int, leases: Mapping[int, str]) -> None:
        await self._call("release_files", archive_id, leases)

    async def note_files(self, archive_id: int, noted: Sequence[NotedFile]) -> None:
        await self._call("note_files", archive_id, noted)

    async def end_archive(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        return await self._call("end_archive", archive_id, status, message)  # type: ignore[no-any-return]

    async def cancel_archive(self, archive_id: int) -> Archive:
        return await self._call("cancel_archive", archive_id)  # type: ignore[no-any-return]

    async def answered(self, questions: Sequence[NewJob]) -> list[bool]:
        return await self._call("answered", questions)  # type: ignore[no-any-return]
