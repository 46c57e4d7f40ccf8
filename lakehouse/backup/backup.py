"""Makes a backup. New files are copied and read back. Files of an earlier backup are only named."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import obstore
from obstore.store import ObjectStore

from lakehouse.backup.backup_manifest import BackedUpFile, Manifest
from lakehouse.backup.snapshot_paths import object_paths, table_paths
from lakehouse.storage.location import Location
from lakehouse.storage.objects import READ_BYTES, Objects, at_once
from lakehouse.storage.result_objects import later_keys
from lakehouse.tables.data_format import FORMAT
from schemas.errors import DamagedObject, NotFound

_BLOBS = "blobs"
_MANIFESTS = "backups"
_NAME, _PARSED = "%Y%m%dT%H%M%S%fZ", "%Y%m%dT%H%M%S%f%z"
_MOST_BYTES = 2**40


@dataclass(frozen=True, slots=True)
class _Found:
    size_bytes: int
    mark: str


class BackupTarget:
    """A folder or bucket with any number of backups of one storage root."""

    def __init__(self, location: Location) -> None:
        self.objects = Objects(location)

    async def names(self) -> list[str]:
        """Names of the backups, oldest first."""
        return sorted([key.rpartition("/")[2] async for key, _ in self.objects.list(_MANIFESTS)])

    async def manifest(self, name: str | None = None) -> Manifest:
        """A backup; the newest if None. Raises NotFound, DamagedObject."""
        names = await self.names()
        if not names or (name is not None and name not in names):
            raise NotFound(f"there is no backup {name or ''} there; found: {', '.join(names) or 'none'}", code="no_backup")
        return Manifest.loads(await self.objects.get_bytes(f"{_MANIFESTS}/{name or names[-1]}"))

    async def save(self, manifest: Manifest) -> None:
        """Write a backup's manifest, which completes the backup."""
        await self.objects.put_new(f"{_MANIFESTS}/{manifest.name}", manifest.dumps())

    async def blobs(self) -> set[str]:
        """Digests of all contents."""
        return {key.rpartition("/")[2] async for key, _ in self.objects.list(_BLOBS)}

    async def verify(self, manifest: Manifest) -> list[str]:
        """Paths of the files whose content in the target is missing or damaged; every content is read."""
        digests = sorted({entry.sha256 for entry in manifest.entries})
        wrong = {digest for digest, bad in zip(digests, await at_once(map(self._is_wrong, digests)), strict=True) if bad}
        return [entry.path for entry in manifest.entries if entry.sha256 in wrong]

    async def prune(self, keep: int) -> int:
        """Remove all but the newest ``keep`` backups, and the contents that none of these has.

        Returns the number of removed backups.
        """
        names = await self.names()
        old, kept = names[:-keep], names[-keep:]
        needed = {entry.sha256 for name in kept for entry in (await self.manifest(name)).entries}
        for name in old:
            await self.objects.delete(f"{_MANIFESTS}/{name}")
        if old:
            await at_once(self.objects.delete(blob_key(digest)) for digest in await self.blobs() - needed)
        return len(old)

    async def _is_wrong(self, digest: str) -> bool:
        try:
            return await self.objects.is_damaged(blob_key(digest))
        except NotFound:
            return True


def blob_key(sha256: str) -> str:
    """Key of a content in a target."""
    return f"{_BLOBS}/{sha256}"


async def back_up(source: Location, target: BackupTarget, versions: Mapping[str, int]) -> tuple[Manifest, int]:
    """(the new backup, bytes that were copied) of tables at ``versions`` and the objects that their rows name.

    Versions of the same moment make a consistent backup also while the ledger writes: files of a version do not change,
    and objects are stored before the rows that name them. An object whose job is deleted meanwhile is ``missing``. Raises
    DamagedObject if a copy differs from its source.
    """
    names = await target.names()
    before = {entry.path: entry for entry in (await target.manifest()).entries} if names else {}
    stored = await target.blobs()
    paths = sorted({*await asyncio.to_thread(lambda: list(table_paths(source, versions)))})
    paths += await asyncio.to_thread(object_paths, source, versions)
    store = source.store()
    there = await _listed(store, ("tables", "objects"))
    made = (f"objects/{key}" for path in paths for key in later_keys(path.removeprefix("objects/")))
    paths += [path for path in made if path in there]
    copied = 0

    async def entry(path: str) -> BackedUpFile | None:
        nonlocal copied
        found, known = there.get(path), before.get(path)
        if found is None:
            return None
        if (
            known is not None
            and known.sha256 in stored
            and (known.size_bytes, known.mark) == (found.size_bytes, found.mark)
        ):
            return known
        try:
            taken = await target.objects.put_stream(_content(store, path), limit_bytes=_MOST_BYTES)
        except FileNotFoundError:
            return None
        key = blob_key(taken.sha256)
        if taken.sha256 in stored:
            await target.objects.discard(taken)
        else:
            await target.objects.adopt(taken, key)
            if await target.objects.is_damaged(key):
                raise DamagedObject(f"the copy of {path} differs from what was written; check the target's disk")
            copied += taken.size_bytes
        return BackedUpFile(path, taken.sha256, taken.size_bytes, found.mark)

    entries = await at_once(entry(path) for path in paths)
    manifest = Manifest(
        name=next_name(names),
        format=FORMAT,
        tables=dict(versions),
        entries=tuple(one for one in entries if one is not None),
        missing=tuple(path for path, one in zip(paths, entries, strict=True) if one is None),
        damaged=tuple(one.path for one in entries if one is not None and _is_damaged_recording(one)),
    )
    await target.save(manifest)
    return manifest, copied


def next_name(names: Sequence[str]) -> str:
    """The present time as a name, or a name after the last of ``names``.

    So later backups have later names, also after a step of the clock.
    """
    name = dt.datetime.now(dt.UTC).strftime(_NAME)
    if names and name <= names[-1]:
        last = dt.datetime.strptime(names[-1], _PARSED)  # noqa: DTZ007 - the name has its zone
        return (last + dt.timedelta(microseconds=1)).strftime(_NAME)
    return name


def _is_damaged_recording(entry: BackedUpFile) -> bool:
    return entry.path.startswith("objects/audio/") and entry.path.rpartition("/")[2] != entry.sha256


async def _listed(store: ObjectStore, folders: Sequence[str]) -> dict[str, _Found]:
    found = {}
    for folder in folders:
        async for batch in obstore.list(store, folder):
            for meta in batch:
                mark = meta["e_tag"] or meta["last_modified"].isoformat()
                found[meta["path"]] = _Found(meta["size"], mark)
    return found


async def _content(store: ObjectStore, path: str) -> AsyncIterator[bytes]:
    found = await obstore.get_async(store, path)
    async for chunk in found.stream(min_chunk_size=READ_BYTES):
        yield bytes(chunk)
