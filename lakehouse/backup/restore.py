"""Restores a backup into an empty storage root. Every file is compared with its digest while it is copied."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import obstore

from lakehouse.backup.backup import BackupTarget, blob_key
from lakehouse.backup.backup_manifest import BackedUpFile, Manifest
from lakehouse.storage.fsync import fsync_all
from lakehouse.storage.location import Location
from lakehouse.storage.objects import at_once
from lakehouse.tables.data_format import PATH, check_readable, is_restoring, write_format
from schemas.errors import Conflict, DamagedObject


async def restore(target: BackupTarget, manifest: Manifest, destination: Location) -> None:
    """Write all files of a backup under ``destination``, durably. The tables get the versions of the backup.

    Until all are there, no ledger opens the destination, and a restore may be repeated, of this or another backup. Raises
    Conflict(code="not_empty") if there are other tables already, Conflict(code="newer_format") for a backup of a later
    version of this program, DamagedObject, NotFound.
    """
    check_readable(manifest.format, destination.root)
    store = destination.store()
    there = [meta["path"] async for batch in obstore.list(store, "tables") for meta in batch]
    if there and not await asyncio.to_thread(is_restoring, destination):
        raise Conflict(
            f"there are tables at {destination.root}; restore into an empty FLUXIONS_HOME or FLUXIONS_STORAGE_URL",
            code="not_empty",
        )

    failed: list[Exception] = []

    async def one(entry: BackedUpFile) -> None:
        """Nothing is written any more once one has failed, so nothing is when the caller hears of it."""
        try:
            if not failed:
                await write(entry)
        except Exception as error:
            failed.append(error)

    async def write(entry: BackedUpFile) -> None:
        digest = hashlib.sha256()

        async def content() -> AsyncIterator[bytes]:
            if entry.size_bytes:
                async for chunk in await target.objects.open_range(blob_key(entry.sha256), 0, entry.size_bytes):
                    digest.update(chunk)
                    yield chunk

        await obstore.put_async(store, entry.path, content(), use_multipart=True)
        if digest.hexdigest() != entry.sha256:
            raise DamagedObject(f"the content of {entry.path} is damaged in the backup; restore another one with --at")

    await asyncio.to_thread(write_format, destination, manifest.format, is_restoring=True)
    if left := [path for path in there if path != PATH]:
        await obstore.delete_async(store, left)  # Another backup's log entries must not be read with this one's.
    for folder in ("objects/", "tables/"):
        await at_once(one(entry) for entry in manifest.entries if entry.path.startswith(folder))
        if failed:
            raise failed[0]
    if destination.fsync and destination.folder is not None:
        root: Path = destination.folder
        await asyncio.to_thread(fsync_all, [root / entry.path for entry in manifest.entries], root)
    await asyncio.to_thread(write_format, destination, manifest.format)
