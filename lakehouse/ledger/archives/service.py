"""Opens, finds and ends archive runs. `ArchiveBegin` and `ArchiveFinish` begin and finish their files."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from lakehouse.ledger.archives.begin import ArchiveBegin
from lakehouse.ledger.archives.finish import ArchiveFinish
from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.interface import Publish
from lakehouse.ledger.job_lookup import JobLookup
from schemas.archives import Archive, ArchiveFile, ArchiveKind, ArchiveStatus, NewArchive
from schemas.domain import JobOptions
from schemas.webhooks import Happened


class ArchiveService:
    """The contract is `ArchiveLedger`."""

    def __init__(
        self,
        clock: Clock,
        tasks: ChangeTasks,
        lookup: JobLookup,
        archives: ArchiveStore,
        begin: ArchiveBegin,
        finish: ArchiveFinish,
        publish: Publish,
        closed: ClosedAccounts,
    ) -> None:
        self._closed = closed
        self._clock = clock
        self._tasks = tasks
        self._lookup = lookup
        self._archives = archives
        self._opening = asyncio.Lock()
        self.begin_files = begin.begin_files
        self.has_cached_result = begin.has_cached_result
        self.renew_files = finish.renew_files
        self.leased_files = finish.leased_files
        self.finish_files = finish.finish_files
        self.release_files = finish.release_files
        self.note_files = finish.note_files
        self._finish = finish
        self._publish = publish
        self.cancel = finish.cancel

    async def open(self, new: NewArchive, engine_revision: str) -> Archive:
        """See `ArchiveLedger.open`."""
        self._closed.check(new.account)
        return await self._tasks.run(self._open(new, engine_revision))

    async def forget(self, account: str) -> None:
        """Stop an account's runs and drop them from memory. The caller erases their rows."""
        for archive in [one for one in self._archives.all() if one.account == account]:
            await self.cancel(archive.id)
        await self._archives.flush()
        self._archives.forget(account)

    async def all(self) -> list[Archive]:
        """See `ArchiveLedger.all`."""
        return self._archives.all()

    async def end(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        """See `ArchiveLedger.end`."""
        return await self._tasks.run(self._end(archive_id, status, message))

    async def events_since(self, moment: dt.datetime) -> list[Happened]:
        """See `EventSource`."""
        completed = [one for one in self._archives.all() if one.status is ArchiveStatus.COMPLETED]
        return [_completed(one) for one in completed if one.updated_at >= moment]

    async def find(self, archive_id: int) -> Archive:
        """See `ArchiveLedger.find`."""
        return self._archives.find(archive_id)

    async def known_files(self, archive_id: int, keys: Sequence[str]) -> list[ArchiveFile]:
        """See `ArchiveLedger.known_files`."""
        files = self._archives.running(archive_id).files
        return [files[key] for key in keys if key in files]

    async def reconcile(self, archive_ids: Sequence[int]) -> None:
        """Update runs just read from their tables to the state of their jobs; see `ArchiveStore.reconcile`."""
        if archive_ids:
            self._archives.reconcile(await self._lookup.of_archives(archive_ids))

    async def _end(self, archive_id: int, status: ArchiveStatus, message: str | None) -> Archive:
        ended = await self._finish.end(archive_id, status, message)
        if status is ArchiveStatus.COMPLETED:
            await self._publish(_completed(ended))
        return ended

    async def _open(self, new: NewArchive, engine_revision: str) -> Archive:
        async with self._opening:
            known_by = fingerprint(new, engine_revision)
            found = self._archives.with_fingerprint(known_by)
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
                await self.reconcile([opened.id])
            return await self._archives.save(opened)


def fingerprint(new: NewArchive, engine_revision: str) -> str:
    """SHA-256 (hex) of the fields that identify a run. A reprocessing with other engines is another run."""
    by = asdict(new)
    del by["name"]
    # Newer options are included only if they are set, so that runs of earlier versions keep their fingerprint.
    for name, default in asdict(JobOptions()).items():
        if name in ("recognize", "strict", "audio_track", "redaction") and by["options"][name] == default:
            del by["options"][name]
    if new.kind is ArchiveKind.REPROCESS:
        by["engine_revision"] = engine_revision
    return hashlib.sha256(json.dumps(by, sort_keys=True).encode()).hexdigest()


def _completed(archive: Archive) -> Happened:
    """The event of a run's end. A run that is opened again and completed again has another event."""
    at = archive.updated_at
    data = {"id": archive.id, "object": "archive", "name": archive.name, "status": archive.status.value}
    event_id = f"evt_a{archive.id}_{int(at.timestamp() * 1000)}"
    return Happened(archive.account, event_id, "archive.completed", data, at=at)


def _made(archive_id: int, now: dt.datetime, new: NewArchive, known_by: str, engine_revision: str) -> Archive:
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
