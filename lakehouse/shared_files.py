"""Files that hold one account's rows of a table and nothing else, for readers outside the platform.

    shared/<account>/<table>/<name>.parquet     an object, written when a reader first asks for it

The tables' own files have rows of several accounts. A shared file has an account's rows of one file of a sorted run, or of
several small files, and its name is a digest of theirs. Files of a table never change, so a shared file is valid as long as
the newest version of the table has its sources.

No row names these objects. A deletion erases all of its account, and maintenance removes old ones; they are written again
when they are asked for.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
from deltalake import DeltaTable

from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, account_folder, checked
from lakehouse.tables.file_replacement import DataFile, files_of, scan_files
from lakehouse.tables.open_table import open_table
from schemas.errors import Unavailable
from schemas.tables import Table, table

FOLDER: Final = "shared"
SHARED_TABLES: Final = ("transcriptions", "segments", "tts_renders", "conversations", "turns", "tool_calls")
"""The tables of an account's history."""
_SMALL_FILES_ROWS: Final = 50_000
"""Rows of small files, of all accounts, that go into one shared file."""
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class SharedFile:
    """One object with rows of the account. ``name`` stays the same as long as its content does."""

    name: str
    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SharedTable:
    """A table as one account sees it. ``schema``: JSON of Delta's schema. ``id``: a UUID."""

    name: str
    id: str
    version: int
    schema: str


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    sources: tuple[DataFile, ...]


class SharedFiles:
    """Writes and finds the shared files of accounts."""

    def __init__(self, location: Location, objects: Objects, keep: dt.timedelta) -> None:
        """``keep``: age at which maintenance removes an object that no row names."""
        self._location = location
        self._objects = objects
        # A file is written again long before it may be removed, so that a link to it lasts.
        self._renew = keep / 2
        self._writing = asyncio.Lock()

    async def table(self, account: str, name: str) -> SharedTable:
        """The newest version of the table ``name``."""
        return _described(name, account, await asyncio.to_thread(self._open, name))

    async def files(self, account: str, name: str) -> tuple[SharedTable, list[SharedFile]]:
        """The newest version of the table ``name``, and files with all of its rows of ``account``.

        Files that do not exist are written, one at a time. Raises Unavailable for a table that keeps changing meanwhile.
        """
        for _ in range(_ATTEMPTS):
            handle = await asyncio.to_thread(self._open, name)
            parts = list(_parts(files_of(handle, table(name)), account))
            sizes = {p.name: size for p in parts if (size := await self._size(account, name, p)) is not None}
            written = [part for part in parts if part.name not in sizes]
            for part in written:
                async with self._writing:  # one file at a time in memory, of all accounts in turn
                    sizes[part.name] = await self._write(account, name, part)
            if not written or await self._still_valid(account, name, written):
                files = [SharedFile(part.name, _key(account, name, part), sizes[part.name]) for part in parts]
                return _described(name, account, handle), files
        raise Unavailable(f"the table {name} changes too often at the moment; try again", retry_after_secs=5)

    async def _still_valid(self, account: str, name: str, written: Sequence[_Part]) -> bool:
        """Whether the table still has the sources. Files whose sources are gone are removed.

        A deletion changes the table first and erases the account's files afterwards. So whichever comes last, that or this
        check, leaves no row that was deleted.
        """
        newest = files_of(await asyncio.to_thread(self._open, name), table(name))
        paths = {file.path for file in newest}
        stale = [part for part in written if not paths.issuperset(file.path for file in part.sources)]
        for part in stale:
            await self._objects.delete(_key(account, name, part))
        return not stale

    async def _size(self, account: str, name: str, part: _Part) -> int | None:
        """Size in bytes of a file that lasts; None if it is to be written."""
        found = await self._objects.described(_key(account, name, part))
        return found[0] if found is not None and dt.datetime.now(dt.UTC) - found[1] < self._renew else None

    async def _write(self, account: str, name: str, part: _Part) -> int:
        """Write a file; returns its size in bytes."""
        data = await asyncio.to_thread(_rows_of, self._location.table_uri(name), table(name), account, part.sources)
        await self._objects.put_bytes(_key(account, name, part), data)
        return len(data)

    def _open(self, name: str) -> DeltaTable:
        return open_table(self._location.table_uri(name))


async def erase_shared(objects: Objects, accounts: Iterable[str]) -> None:
    """Remove all shared files of ``accounts``, because some of their rows are erased."""
    for account in set(accounts):
        async for key, _ in objects.list(_folder(account)):
            await objects.delete(key)


def _parts(files: Sequence[DataFile], account: str) -> Iterator[_Part]:
    """The sources of each shared file. Files that cannot have rows of the account are left out."""
    small: list[DataFile] = []
    for file in files:
        if not _may_have(file, account):
            continue
        if file.run is not None:
            yield _part([file])
            continue
        if small and sum(one.num_rows for one in small) + file.num_rows > _SMALL_FILES_ROWS:
            yield _part(small)
            small = []
        small.append(file)
    if small:
        yield _part(small)


def _may_have(file: DataFile, account: str) -> bool:
    low, high = file.low.get("account"), file.high.get("account")
    return (low is None or low <= account) and (high is None or high >= account)


def _part(sources: Sequence[DataFile]) -> _Part:
    names = "\n".join(file.path for file in sources)
    return _Part(hashlib.sha256(names.encode()).hexdigest()[:32], tuple(sources))


def _rows_of(uri: str, of: Table, account: str, sources: Sequence[DataFile]) -> bytes:
    rows = scan_files(uri, sources, of).filter(pl.col("account") == account)
    buffer = io.BytesIO()
    rows.collect().write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def _described(name: str, account: str, handle: DeltaTable) -> SharedTable:
    own_id = uuid.uuid5(uuid.UUID(str(handle.metadata().id)), account)
    return SharedTable(name, str(own_id), handle.version(), handle.schema().to_json())


def _folder(account: str) -> str:
    return f"{FOLDER}/{account_folder(account)}"


def _key(account: str, name: str, part: _Part) -> str:
    return checked(f"{_folder(account)}/{name}/{part.name}.parquet")
