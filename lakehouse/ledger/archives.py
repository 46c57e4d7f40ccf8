"""Archive runs, as the gateway asks the ledger for them: opened, found, and what they know of a file."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from lakehouse.ledger.archive_ending import ArchiveEnding
from schemas.archives import Archive, ArchiveFile, ArchiveKind, ArchiveStatus, NewArchive
from schemas.domain import Job


class ArchiveRunning(ArchiveEnding):
    """Part of `lakehouse.ledger.Ledger`. Methods raise Unavailable when a commit fails, and may be repeated then."""

    def __init__(self) -> None:
        super().__init__()
        self._opening_archives = asyncio.Lock()

    async def open_archive(self, new: NewArchive, engine_revision: str) -> Archive:
        """The run asked for: a new one, or the same one as before, which is running from now on."""
        return await self._durably(self._open_archive(new, engine_revision))

    async def list_archives(self) -> list[Archive]:
        """All runs, newest first."""
        return self._archives.all()

    async def find_archive(self, archive_id: int) -> Archive:
        """Raises NotFound."""
        return self._archives.find(archive_id)

    async def known_files(self, archive_id: int, keys: Sequence[str]) -> list[ArchiveFile]:
        """What a run under way knows of these keys; unknown ones are left out. Raises NotFound, Conflict."""
        files = self._archives.running(archive_id).files
        return [files[key] for key in keys if key in files]

    async def leased_job(self, job_id: int, lease: str) -> Job:
        """As for other jobs; a revision that is being made is told as it will be."""
        found = self._archives.revising(job_id)
        if found is not None and found[1].worker == lease:
            self._leases.take_up(job_id, lease)
            return found[1]
        return await super().leased_job(job_id, lease)

    async def _open_archive(self, new: NewArchive, engine_revision: str) -> Archive:
        async with self._opening_archives:
            known_by = fingerprint(new, engine_revision)
            found = self._archives.like(known_by)
            if found is None:
                found = self._archives.new(lambda archive_id, now: _made(archive_id, now, new, known_by, engine_revision))
            elif (found.status, found.engine_revision) == (ArchiveStatus.RUNNING, engine_revision):
                return found
            opened = replace(
                found,
                name=new.name,
                status=ArchiveStatus.RUNNING,
                message=None,
                engine_revision=engine_revision,
                updated_at=self._clock.utc(),
            )
            if found.id not in self._archives.runs:
                await self._archives.open(found)
                await self._reconcile_archives([opened.id])
            return await self._archives.save(opened)

    async def _reconcile_archives(self, archive_ids: Sequence[int]) -> None:
        """Let runs just opened see jobs they made before the ledger, or the run, ended."""
        if archive_ids:
            live = [entry.job for entry in self._live if entry.job.archive_id in archive_ids]
            version = self._finished.version
            stored = await asyncio.to_thread(self._view.reader.of_archives, archive_ids, version)
            self._archives.reconcile([*stored, *live])


def fingerprint(new: NewArchive, engine_revision: str) -> str:
    """What makes a run the same as an earlier one. A reprocessing with other engines is another run."""
    by = asdict(new)
    del by["name"]
    if new.kind is ArchiveKind.REPROCESS:
        by["engine_revision"] = engine_revision
    return hashlib.sha256(json.dumps(by, sort_keys=True).encode()).hexdigest()


def _made(archive_id: int, now: Any, new: NewArchive, known_by: str, engine_revision: str) -> Archive:
    return Archive(
        id=archive_id,
        account=new.account,
        name=new.name,
        kind=new.kind,
        source=new.source,
        options=new.options,
        include_current=new.include_current,
        fingerprint=known_by,
        engine_revision=engine_revision,
        status=ArchiveStatus.RUNNING,
        created_at=now,
        updated_at=now,
    )
