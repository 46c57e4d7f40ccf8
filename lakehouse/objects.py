"""Objects: recordings, results, playback copies, in a local folder or any store obstore speaks.

A recording is hashed while it streams into ``tmp/<uuid>`` and takes its content-addressed name afterwards. Keys are ours:
content hashes and ids, never a client's words.
"""

from __future__ import annotations

import asyncio
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
from obstore.store import LocalStore, MemoryStore

from lakehouse.durable import fsync_all, fsync_path, fsync_with_parents
from lakehouse.location import Location
from schemas.errors import InvalidRequest, NotFound, PayloadTooLarge
from schemas.settings import Settings

HEAD_BYTES = 4096
PART_BYTES = 5 * 1024 * 1024
"""Size of an upload part; 5 MiB is the least S3 takes. Two are under way at once: a stream costs a few parts of memory."""
READ_BYTES = 256 * 1024
_AT_ONCE = 8

T = TypeVar("T")

_SEGMENT = r"[A-Za-z0-9_=+~-][A-Za-z0-9._=+~-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


@dataclass(frozen=True, slots=True)
class Stored:
    """An uploaded stream under its temporary key, not yet adopted or discarded. ``head`` is its first 4 KiB or less."""

    tmp_key: str
    sha256: str
    size_bytes: int
    head: bytes


def checked(key: str) -> str:
    """``key`` itself if it is a well-formed key: relative, without ``..`` or hidden parts. Raises InvalidRequest."""
    if not _KEY.fullmatch(key) or len(key) > 512:
        raise InvalidRequest("malformed object key", code="invalid_key")
    return key


def account_folder(account: str) -> str:
    """The key segment of an account; one whose name is none (an OIDC subject) has its hash."""
    if re.fullmatch(_SEGMENT, account) and len(account) <= 64:
        return account
    return "~" + hashlib.sha256(account.encode()).hexdigest()[:32]


def audio_key(account: str, sha256: str) -> str:
    """Where an account's recording lies."""
    return checked(f"audio/{account_folder(account)}/{sha256}")


class Objects:
    """All objects under ROOT/objects. What is missing raises NotFound, a bad key InvalidRequest."""

    def __init__(self, location: Location) -> None:
        self._store = location.store("objects")
        self._root = location.folder / "objects" if location.folder else None
        self._fsync = location.fsync

    @classmethod
    def of(cls, settings: Settings) -> Objects:
        return cls(Location.of(settings))

    @property
    def signs(self) -> bool:
        """Whether the store signs URLs itself."""
        return not isinstance(self._store, LocalStore | MemoryStore)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> Stored:
        """Upload ``chunks`` under a temporary key. Raises PayloadTooLarge over ``limit_bytes``.

        Whatever ends the stream early, here or in ``chunks``, is raised as it is and nothing is left behind.
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
        except BaseException:
            await self._discard(key)
            if isinstance(failure, Exception):
                # obstore wraps what its source raises; callers want the source's own error.
                raise failure from None
            raise
        return Stored(key, digest.hexdigest(), size, bytes(head))

    async def adopt(self, stored: Stored, key: str, *, durably: bool = True) -> None:
        """Give an upload its lasting name. If the name is taken by equal content, the upload is dropped.

        Not ``durably``: whoever comes to rely on it flushes it first (`flush`), with others.
        """
        if await self.exists(checked(key)):
            await self.discard(stored)
        else:
            if self._fsync and durably:
                await asyncio.to_thread(fsync_path, self._path(stored.tmp_key))
            await obstore.rename_async(self._store, stored.tmp_key, key)
        if durably:
            await self._flush(key)

    async def discard(self, stored: Stored) -> None:
        """Drop an upload; harmless if it is gone."""
        await self._discard(stored.tmp_key)

    async def put_bytes(self, key: str, data: bytes) -> None:
        """Write or replace a small object, durably."""
        await obstore.put_async(self._store, checked(key), data)
        await self._flush(key)

    async def put_many(self, contents: Mapping[str, bytes]) -> None:
        """Write or replace small objects; durable, all of them, when this returns."""
        await self.write_many(contents)
        await self.flush(list(contents))

    async def write_many(self, contents: Mapping[str, bytes]) -> None:
        """Write or replace small objects, each whole or not at all; whoever relies on them flushes them first (`flush`)."""
        await at_once(obstore.put_async(self._store, checked(key), data) for key, data in contents.items())

    async def flush(self, keys: Sequence[str]) -> None:
        """Make objects that were written or adopted durable; their folders are flushed once."""
        if self._fsync and self._root and keys:
            await asyncio.to_thread(fsync_all, [self._path(checked(key)) for key in keys], self._root)

    async def get_bytes(self, key: str) -> bytes:
        """A whole small object. Raises NotFound."""
        try:
            found = await obstore.get_async(self._store, checked(key))
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise _missing() from error

    async def open_range(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` to before ``end`` (not none, within the size) in chunks. Raises NotFound, at once."""
        try:
            found = await obstore.get_async(self._store, checked(key), options={"range": (start, end)})
        except FileNotFoundError as error:
            raise _missing() from error
        return _chunks(found)

    async def size(self, key: str) -> int:
        """Size in bytes. Raises NotFound."""
        try:
            return (await obstore.head_async(self._store, checked(key)))["size"]
        except FileNotFoundError as error:
            raise _missing() from error

    async def delete(self, key: str) -> None:
        """Remove an object; harmless if it is gone."""
        await self._discard(checked(key))

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """(key, size in bytes) of every object under the folder ``prefix``, in no order."""
        async for batch in obstore.list(self._store, checked(prefix)):
            for meta in batch:
                yield meta["path"], meta["size"]

    async def list_times(self, prefix: str) -> AsyncIterator[tuple[str, dt.datetime]]:
        """(key, when it was last written) of every object under the folder ``prefix``, in no order."""
        async for batch in obstore.list(self._store, checked(prefix)):
            for meta in batch:
                yield meta["path"], meta["last_modified"]

    async def sign(self, key: str, expires_in: timedelta) -> str:
        """An absolute URL to GET the object, from a store that signs itself."""
        store = cast("obstore.store.S3Store", self._store)
        return await obstore.sign_async(store, "GET", checked(key), expires_in)

    async def exists(self, key: str) -> bool:
        try:
            await obstore.head_async(self._store, checked(key))
        except FileNotFoundError:
            return False
        return True

    async def _discard(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            pass  # Stores differ: S3 calls this a success.

    async def _flush(self, key: str) -> None:
        if self._fsync and self._root:
            await asyncio.to_thread(fsync_with_parents, self._path(key), self._root)

    def _path(self, key: str) -> Path:
        if self._root is None:
            raise TypeError("objects of a remote store have no path")
        return self._root / key


async def at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of ``work``, in order, some of it at a time: enough to keep a store busy, and to leave it to others."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(awaitable: Awaitable[T]) -> T:
        async with places:
            return await awaitable

    return await asyncio.gather(*(one(awaitable) for awaitable in work))


def _missing() -> NotFound:
    return NotFound("no such object", code="object_not_found")


async def _chunks(found: obstore.GetResult) -> AsyncIterator[bytes]:
    async for chunk in found.stream(min_chunk_size=READ_BYTES):
        yield bytes(chunk)
