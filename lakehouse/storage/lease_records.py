"""Stores a lease: one small record, which only a writer that has read its present version can replace.

Object stores compare the version themselves, by conditional put. In a shared folder a version is a file of its own, whose
name can be created once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import LocalStore, ObjectStore

from lakehouse.storage.location import Location

Version = dict[str, str]
"""Version of the present record; empty before the first record."""

_NAME: Final = "ledger.lock"
LEASE_FOLDER: Final = "ledger.lease"


class LeaseChanged(Exception):
    """Another writer was first."""


class LeaseRecord(Protocol):
    """One record, written by compare and swap."""

    async def read(self) -> tuple[Version, dict[str, Any]]:
        """The present version and its content. Raises FileNotFoundError where there is none."""
        ...

    async def write(self, expected: Version, content: dict[str, Any]) -> Version:
        """Replace the version ``expected`` (empty: there is none). Raises LeaseChanged if another is present."""
        ...

    async def remove(self, version: Version, content: dict[str, Any]) -> None:
        """Remove the record, or write ``content`` where it cannot be removed."""
        ...


def lease_record(location: Location) -> LeaseRecord:
    """The record of ``location``'s lease."""
    return FolderRecord(location.folder) if location.folder is not None else ObjectRecord(location.store())


class ObjectRecord:
    """ROOT/ledger.lock in a store with conditional puts (S3, GCS, Azure)."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self) -> tuple[Version, dict[str, Any]]:
        """See `LeaseRecord.read`."""
        found = await obstore.get_async(self._store, _NAME)
        return _version(found.meta), json.loads(bytes(await found.bytes_async()))

    async def write(self, expected: Version, content: dict[str, Any]) -> Version:
        """See `LeaseRecord.write`."""
        mode: Any = expected or "create"
        try:
            return _version(await obstore.put_async(self._store, _NAME, json.dumps(content).encode(), mode=mode))
        except (AlreadyExistsError, PreconditionError) as error:
            raise LeaseChanged from error

    async def remove(self, version: Version, content: dict[str, Any]) -> None:
        """See `LeaseRecord.remove`."""
        del version, content
        await obstore.delete_async(self._store, _NAME)


class FolderRecord:
    """ROOT/ledger.lease/NUMBER in a folder that several machines share; the highest number is the present record.

    A number is created once (``link(2)``, atomic on NFS too). Older records are removed, so a writer that creates a
    number must look for higher numbers afterwards.
    """

    def __init__(self, root: Path) -> None:
        self._store = LocalStore(root / LEASE_FOLDER, mkdir=True)

    async def read(self) -> tuple[Version, dict[str, Any]]:
        """See `LeaseRecord.read`."""
        while numbers := await self._numbers():
            try:
                found = await obstore.get_async(self._store, _file(numbers[-1]))
                return {"e_tag": str(numbers[-1])}, json.loads(bytes(await found.bytes_async()))
            except FileNotFoundError:  # A newer record was written meanwhile.
                continue
        raise FileNotFoundError(LEASE_FOLDER)

    async def write(self, expected: Version, content: dict[str, Any]) -> Version:
        """See `LeaseRecord.write`."""
        number = int(expected["e_tag"]) + 1 if expected else 0
        try:
            await obstore.put_async(self._store, _file(number), json.dumps(content).encode(), mode="create")
        except AlreadyExistsError as error:
            raise LeaseChanged from error
        numbers = await self._numbers()
        if numbers[-1] != number:
            await self._delete(number)
            raise LeaseChanged
        for older in numbers[:-1]:
            await self._delete(older)
        return {"e_tag": str(number)}

    async def remove(self, version: Version, content: dict[str, Any]) -> None:
        """See `LeaseRecord.remove`. The last number stays, so that no number is used twice."""
        await self.write(version, content)

    async def _numbers(self) -> list[int]:
        found = [meta["path"] async for batch in obstore.list(self._store) for meta in batch]
        return sorted(int(name) for name in found if name.isdigit())

    async def _delete(self, number: int) -> None:
        try:
            await obstore.delete_async(self._store, _file(number))
        except FileNotFoundError:
            pass


def _file(number: int) -> str:
    return f"{number:020d}"


def _version(result: Any) -> Version:
    """The version for a conditional put. Absent fields are left out, because stores reject nulls."""
    return {key: result[key] for key in ("e_tag", "version") if result.get(key) is not None}
