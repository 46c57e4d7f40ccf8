"""Objects: recordings, results and playback copies, in a local folder or any store that obstore supports.

A recording is hashed while it is streamed to ``tmp/<uuid>``, and gets its content-addressed key afterwards. Keys consist
of content hashes and ids, never of text that a client sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore

from lakehouse.storage.atomic_change import Change, change_object
from lakehouse.storage.fsync import FileFlush, fsync_all, fsync_path
from lakehouse.storage.location import Location
from lakehouse.storage.space import Space, space
from lakehouse.storage.store_errors import storage_error, store_errors
from schemas.errors import InvalidRequest, NotFound, PayloadTooLarge, Unavailable
from schemas.settings import Settings

HEAD_BYTES = 4096
PART_BYTES = 5 * 1024 * 1024
"""Size of an upload part; S3 takes no smaller ones. Two are sent at once, so a stream needs memory for a few parts."""
READ_BYTES = 256 * 1024
_AT_ONCE = 8

T = TypeVar("T")

_SEGMENT = r"[A-Za-z0-9_=+~-][A-Za-z0-9._=+~-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


@dataclass(frozen=True, slots=True)
class Stored:
    """An uploaded stream under its temporary key, to be adopted or discarded. ``head``: its first 4 KiB at most."""

    tmp_key: str
    sha256: str
    size_bytes: int
    head: bytes


def checked(key: str) -> str:
    """``key`` itself, if it is relative and without ``..`` or hidden parts. Raises InvalidRequest otherwise."""
    if not _KEY.fullmatch(key) or len(key) > 512:
        raise InvalidRequest("malformed object key", code="invalid_key")
    return key


def account_folder(account: str) -> str:
    """The key segment of an account: its name, or a hash of a name that is no valid segment (an OIDC subject)."""
    if re.fullmatch(_SEGMENT, account) and len(account) <= 64:
        return account
    return "~" + hashlib.sha256(account.encode()).hexdigest()[:32]


def audio_key(account: str, sha256: str) -> str:
    """Key of an account's recording."""
    return checked(f"audio/{account_folder(account)}/{sha256}")


class Objects:
    """All objects under ROOT/objects. Methods raise NotFound for a missing object, InvalidRequest for a malformed key."""

    def __init__(self, location: Location, disks: Sequence[Path] = (), reserve_bytes: int = 0) -> None:
        self._disks = disks
        self._reserve_bytes = reserve_bytes
        self._store = location.store("objects")
        self._root = location.folder / "objects" if location.folder else None
        self._fsync = location.fsync
        self._flush_file = FileFlush()

    @classmethod
    def of(cls, settings: Settings) -> Objects:
        """The objects of the storage root that settings name."""
        location = Location.of(settings)
        disks = [settings.home, *([location.folder] if location.folder else [])]
        return cls(location, disks, settings.storage.reserve_bytes)

    def space(self) -> Space:
        """The free space now."""
        return space(self._disks, self._reserve_bytes)

    @property
    def signs(self) -> bool:
        """Whether the store signs URLs itself."""
        return not isinstance(self._store, LocalStore | MemoryStore)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> Stored:
        """Upload ``chunks`` under a temporary key. Raises PayloadTooLarge over ``limit_bytes``.

        An error of ``chunks`` is raised as it is. After any error nothing is left in the store.
        """
        key = f"tmp/{uuid.uuid4().hex}"
        digest, head, size = hashlib.sha256(), bytearray(), 0
        failure: BaseException | None = None

        async def measured() -> AsyncIterator[bytes]:
            nonlocal size, failure
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit_bytes:
                        raise PayloadTooLarge(f"the body is larger than the {limit_bytes} bytes accepted")
                    digest.update(chunk)
                    if len(head) < HEAD_BYTES:
                        head.extend(chunk[: HEAD_BYTES - len(head)])
                    yield chunk
            except BaseException as error:
                failure = error
                raise

        upload = asyncio.ensure_future(
            obstore.put_async(self._store, key, measured(), use_multipart=True, chunk_size=PART_BYTES, max_concurrency=2)
        )
        try:
            await upload
        except BaseException as error:
            await self._discard(key)
            if isinstance(failure, Exception):
                # obstore wraps the error of its source; callers need the original one.
                raise failure from None
            if isinstance(error, BaseError | OSError):
                raise storage_error(error, "the object store") from error
            raise
        return Stored(key, digest.hexdigest(), size, bytes(head))

    async def adopt(self, stored: Stored, key: str, *, durably: bool = True) -> None:
        """Give an upload its final key.

        If an object has that key already, it has the same content, and the upload is dropped.

        An object whose key is its digest is read before, and replaced if it is damaged. Without ``durably`` the caller must
        `flush` the key before relying on it. The upload is gone after an error, too, if the store can be reached.
        """
        if await self._has_whole(checked(key), stored.sha256):
            await self.discard(stored)
        else:
            try:
                with store_errors():
                    if self._fsync and durably:
                        await asyncio.to_thread(fsync_path, self._path(stored.tmp_key))
                    await obstore.rename_async(self._store, stored.tmp_key, key)
            except Unavailable:
                with contextlib.suppress(Unavailable):
                    await self.discard(stored)
                raise
        if durably:
            await self._flush(key)

    async def _has_whole(self, key: str, sha256: str) -> bool:
        """Whether there is an object with this key, and its content is ``sha256`` if its name is."""
        try:
            return await self.exists(key) and not (key.endswith(sha256) and await self.is_damaged(key))
        except NotFound:
            return False  # The object was removed meanwhile.

    async def discard(self, stored: Stored) -> None:
        """Remove an upload; harmless if it is gone."""
        await self._discard(stored.tmp_key)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Write or replace a small object, durably."""
        with store_errors():
            await obstore.put_async(self._store, checked(key), data)
        await self._flush(key)

    async def put_new(self, key: str, data: bytes) -> bool:
        """Write a small object, durably, unless another object has that key. Returns whether this object is stored."""
        with store_errors():
            try:
                await obstore.put_async(self._store, checked(key), data, mode="create")
            except AlreadyExistsError:
                # A store that gets a request twice, because its first answer was lost, refuses the second although it
                # carried out the first.
                if await self.get_bytes(key) != data:
                    return False
        await self._flush(key)
        return True

    async def change(self, key: str, make: Change) -> bytes:
        """Replace a small object's content by the result of ``make``, durably, and return the result; see
        `atomic_change`.
        """
        lock = self._root and self._root.parent
        with store_errors():
            return await change_object(self._store, lock, checked(key), make, lambda: self._flush_files([key]))

    async def put_many(self, contents: Mapping[str, bytes]) -> None:
        """Write or replace small objects, durably."""
        await self.write_many(contents)
        await self.flush(list(contents))

    async def write_many(self, contents: Mapping[str, bytes]) -> None:
        """Write or replace small objects, each completely or not at all. `flush` the keys before relying on them."""
        with store_errors():
            await at_once(obstore.put_async(self._store, checked(key), data) for key, data in contents.items())

    async def flush(self, keys: Sequence[str]) -> None:
        """Flush objects that were written or adopted to disk, and each of their folders once."""
        if self._fsync and keys:
            with store_errors():
                await asyncio.to_thread(self._flush_files, keys)

    async def get_bytes(self, key: str) -> bytes:
        """A whole small object. Raises NotFound."""
        try:
            with store_errors():
                found = await obstore.get_async(self._store, checked(key))
                return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise _missing() from error

    async def open_range(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end), at least one and within the size, in chunks. Raises NotFound at once."""
        try:
            with store_errors():
                found = await obstore.get_async(self._store, checked(key), options={"range": (start, end)})
        except FileNotFoundError as error:
            raise _missing() from error
        return _chunks(found)

    async def size(self, key: str) -> int:
        """Size in bytes. Raises NotFound."""
        try:
            with store_errors():
                return (await obstore.head_async(self._store, checked(key)))["size"]
        except FileNotFoundError as error:
            raise _missing() from error

    async def described(self, key: str) -> tuple[int, dt.datetime] | None:
        """(size in bytes, when it was last written, UTC) of an object; None if there is no such object."""
        try:
            with store_errors():
                found = await obstore.head_async(self._store, checked(key))
        except FileNotFoundError:
            return None
        return found["size"], found["last_modified"]

    async def delete(self, key: str) -> None:
        """Remove an object; harmless if it is gone."""
        await self._discard(checked(key))

    async def move(self, key: str, to: str) -> None:
        """Give an object another key, durably. Raises NotFound."""
        try:
            await obstore.rename_async(self._store, checked(key), checked(to))
        except FileNotFoundError as error:
            raise _missing() from error
        await self._flush(to)

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """(key, size in bytes) of every object under the folder ``prefix``, unordered."""
        async for batch in obstore.list(self._store, checked(prefix)):
            for meta in batch:
                yield meta["path"], meta["size"]

    async def list_times(self, prefix: str) -> AsyncIterator[tuple[str, dt.datetime]]:
        """(key, time of the last write) of every object under the folder ``prefix``, unordered."""
        async for batch in obstore.list(self._store, checked(prefix)):
            for meta in batch:
                yield meta["path"], meta["last_modified"]

    async def sha256(self, key: str) -> str:
        """SHA-256 of an object's content, hex. Raises NotFound."""
        digest, size = hashlib.sha256(), await self.size(key)
        if size:
            async for chunk in await self.open_range(key, 0, size):
                digest.update(chunk)
        return digest.hexdigest()

    async def is_damaged(self, key: str) -> bool:
        """Whether an object whose name is its digest has another content. Raises NotFound."""
        return await self.sha256(key) != key.rpartition("/")[2]

    async def sign(self, key: str, expires_in: timedelta) -> str:
        """An absolute URL to GET the object, signed by the store; only if `signs`."""
        store = cast("obstore.store.S3Store", self._store)
        return await obstore.sign_async(store, "GET", checked(key), expires_in)

    async def exists(self, key: str) -> bool:
        """Whether the store has the object."""
        try:
            with store_errors():
                await obstore.head_async(self._store, checked(key))
        except FileNotFoundError:
            return False
        return True

    async def _discard(self, key: str) -> None:
        try:
            with store_errors():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            pass  # Local stores report a missing object; S3 does not.

    async def _flush(self, key: str) -> None:
        await self.flush([key])

    def _flush_files(self, keys: Sequence[str]) -> None:
        if self._fsync and self._root:
            fsync_all([self._path(checked(key)) for key in keys], self._root, self._flush_file)

    def _path(self, key: str) -> Path:
        if self._root is None:
            raise TypeError("objects of a remote store have no path")
        return self._root / key


async def at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of ``work``, in order, with at most eight awaited at a time, so that others can use the store too."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(awaitable: Awaitable[T]) -> T:
        async with slots:
            return await awaitable

    return await asyncio.gather(*(one(awaitable) for awaitable in work))


def _missing() -> NotFound:
    return NotFound("no such object", code="object_not_found")


async def _chunks(found: obstore.GetResult) -> AsyncIterator[bytes]:
    async for chunk in found.stream(min_chunk_size=READ_BYTES):
        yield bytes(chunk)
