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
from lakehouse.tables.data_format import check_readable, write_format
from schemas.errors import Conflict, DamagedObject


async def restore(target: BackupTarget, manifest: Manifest, destination: Location) -> None:
    """Write all files of a backup under ``destination``, durably. The tables get the versions of the backup.

    Raises Conflict(code="not_empty") if there are tables already, Conflict(code="newer_format") for a backup of a later
    version of this program, DamagedObject, NotFound.
    """
    check_readable(manifest.format, destination.root)
    store = destination.store()
    if any([batch async for batch in obstore.list(store, "tables")]):
        raise Conflict(
            f"there are tables at {destination.root}; restore into an empty FLUXIONS_HOME or FLUXIONS_STORAGE_URL",
            code="not_empty",
        )

    async def one(entry: BackedUpFile) -> None:
        digest = hashlib.sha256()

        async def content() -> AsyncIterator[bytes]:
            if entry.size_bytes:
                async for chunk in await target.objects.open_range(blob_key(entry.sha256), 0, entry.size_bytes):
                    digest.update(chunk)
                    yield chunk

        await obstore.put_async(store, entry.path, content(), use_multipart=True)
        if digest.hexdigest() != entry.sha256:
            raise DamagedObject(f"the content of {entry.path} is damaged in the backup; restore another one with --at")

    # Objects first: an interrupted restore leaves no tables that a ledger could open.
    for folder in ("objects/", "tables/"):
        await at_once(one(entry) for entry in manifest.entries if entry.path.startswith(folder))
    if destination.fsync and destination.folder is not None:
        root: Path = destination.folder
        await asyncio.to_thread(fsync_all, [root / entry.path for entry in manifest.entries], root)
    await asyncio.to_thread(write_format, destination, manifest.format)
