"""Copies an entry's bytes to this machine and hashes them; for an estimate, reads parts of them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import httpx
import obstore
from obstore.exceptions import BaseError

from audio.decoding import refusals
from audio.durations import Reader
from flows.archives.sources.entries import Entry, local_path
from flows.archives.sources.s3 import bucket_store, etag, split, store_error
from runtime.file_names import download_name
from runtime.untrusted_urls import NO_URL, AddressRefused, EncodingRefused, async_client, check_encoding
from schemas.domain import Seconds
from schemas.errors import FluxionsError, Forbidden, InvalidRequest, NotFound, PayloadTooLarge, Unavailable
from schemas.settings import LimitSettings

if TYPE_CHECKING:
    from obstore import ObjectMeta  # a type of its stubs only

NO_RECORDING: Final = refusals.NO_RECORDING | {"not_a_file"}
"""Codes for what is expected beside recordings in a folder: other files, and pipes, sockets and devices."""
_CHUNK_BYTES = 1024 * 1024
_ATTEMPTS = 4
_FIRST_PAUSE_SECS: Seconds = 0.5
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The local copy of an entry. The bytes that were hashed are those that are decoded and stored, even if the original
    changes.
    """

    path: Path
    sha256: str
    size_bytes: int
    filename: str | None = None
    """Its name by a web server's answer."""


async def fetch(entry: Entry, target: Path, limit_bytes: int) -> Fetched:
    """Copy an entry to ``target``. After a transient failure it is tried again, with growing pauses.

    Raises NotFound for a file that is gone, Forbidden, PayloadTooLarge, InvalidRequest, Unavailable; messages name the
    location.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return await _copy(entry.location, target, limit_bytes)
        except FluxionsError as error:
            if not error.retryable or attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(_FIRST_PAUSE_SECS * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
    raise AssertionError("the last attempt returns or raises")


async def _copy(location: str, target: Path, limit_bytes: int) -> Fetched:
    if (path := local_path(location)) is not None:
        return await asyncio.to_thread(_copy_file, path, target, limit_bytes)
    names: list[str] = []
    chunks = _object(location) if location.startswith("s3://") else _download(location, names)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            _check_size(location, size, limit_bytes)
            digest.update(chunk)
            file.write(chunk)
    return Fetched(target, digest.hexdigest(), size, names[0] if names else None)


def _copy_file(source: Path, target: Path, limit_bytes: int) -> Fetched:
    digest, size = hashlib.sha256(), 0
    _file_version(source)
    try:
        with source.open("rb") as original, target.open("wb") as copy:
            while chunk := original.read(_CHUNK_BYTES):
                size += len(chunk)
                _check_size(str(source), size, limit_bytes)
                digest.update(chunk)
                copy.write(chunk)
    except OSError as error:
        raise _unreadable(source, error) from error
    return Fetched(target, digest.hexdigest(), size)


def _check_size(location: str, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise PayloadTooLarge(f"{location} is larger than the {limit_bytes} bytes accepted (FLUXIONS_MAX_UPLOAD_BYTES)")


def _unreadable(path: Path, error: OSError) -> FluxionsError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"{path} is not there", code="no_such_file")
    if isinstance(error, PermissionError):
        return Forbidden(f"{path} may not be read", code="unreadable_file")
    return InvalidRequest(f"{path} cannot be read: {error.strerror}", code="unreadable_file")


async def _object(url: str) -> AsyncIterator[bytes]:
    bucket, key = split(url)
    try:
        found = await obstore.get_async(bucket_store(bucket), key)
        async for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
            yield bytes(chunk)
    except (BaseError, FileNotFoundError) as error:
        raise store_error(error, url) from error


async def _download(url: str, names: list[str]) -> AsyncIterator[bytes]:
    """The bytes behind ``url``; its name is added to ``names`` once the server has answered."""
    try:
        async with (
            async_client(allow_private=LimitSettings().fetch_private, timeout=_TIMEOUT) as client,
            client.stream("GET", url) as response,
        ):
            _raise_for(url, response.status_code)
            check_encoding(response)
            names.append(download_name(str(response.url), response.headers.get("Content-Disposition")))
            async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                yield chunk
    except (
        EncodingRefused,
        *NO_URL,
        httpx.TooManyRedirects,
        httpx.UnsupportedProtocol,
        httpx.DecodingError,
    ) as error:
        raise InvalidRequest(
            f"{redact_url(url)} cannot be downloaded ({type(error).__name__})", code="download_failed"
        ) from error
    except AddressRefused as error:
        raise Forbidden(
            f"{redact_url(url)} is, or leads to, an address that is not of the wide internet; "
            "FLUXIONS_FETCH_PRIVATE=true allows it",
            code="address_refused",
        ) from error
    except httpx.TransportError as error:
        raise Unavailable(f"{redact_url(url)} does not answer ({type(error).__name__})", code="download_failed") from error


def _raise_for(url: str, status: int) -> None:
    if status < 400:
        return
    message = f"{redact_url(url)} answered HTTP {status}"
    if status in (404, 410):
        raise NotFound(message, code="no_such_file")
    if status in (401, 403):
        raise Forbidden(message, code="download_forbidden")
    if status in (408, 425, 429) or status >= 500:
        raise Unavailable(message, code="download_failed")
    raise InvalidRequest(message, code="download_failed")


def redact_url(location: str) -> str:
    """A location for messages and logs: a web address without query and user, which may hold a signature or a password."""
    if not location.startswith(("http://", "https://")):
        return location
    try:
        parsed = httpx.URL(location)
    except httpx.InvalidURL:
        return f"{location.partition('://')[0]}://…"
    return str(parsed.copy_with(query=None, fragment=None, username=None, password=None))


async def version(entry: Entry) -> str:
    """A string that changes whenever the bytes change: size and modification time, or an ETag. Does not read the bytes.

    Empty where there is no such information, as with many web servers; then the bytes must be read. Raises as `fetch`.
    """
    if entry.version:
        return entry.version
    if entry.location.startswith("s3://"):
        return etag(await asyncio.to_thread(_head, entry.location))
    if (path := local_path(entry.location)) is None:
        return await _web_version(entry.location)
    return await asyncio.to_thread(_file_version, path)


def _file_version(path: Path) -> str:
    """Raises InvalidRequest(not_a_file) for a pipe, which would never end, and other things that are no file."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(f"{path} is no file but a folder, a pipe, a socket or a device", code="not_a_file")
    return f"{found.st_size}-{found.st_mtime_ns}"


async def _web_version(url: str) -> str:
    """Empty if the server does not answer HEAD properly; a later GET of the bytes then reports what is wrong."""
    try:
        async with async_client(allow_private=LimitSettings().fetch_private, timeout=_TIMEOUT) as client:
            response = await client.head(url)
    except (httpx.HTTPError, *NO_URL):
        return ""
    if not response.is_success:
        return ""
    headers = response.headers
    return headers.get("ETag") or "-".join(
        headers[name] for name in ("Content-Length", "Last-Modified") if "Last-Modified" in headers and name in headers
    )


@contextmanager
def opened(entry: Entry) -> Iterator[tuple[Reader, int] | None]:
    """Random access to an entry, and its size in bytes; None for a web address. Blocks. Raises as `fetch`."""
    if entry.location.startswith("s3://"):
        size = _head(entry.location)["size"]
        yield lambda at, count: _range(entry.location, at, min(at + count, size)), size
    elif (path := local_path(entry.location)) is None:
        yield None
    else:
        _file_version(path)
        try:
            with path.open("rb") as file:
                yield lambda at, count: _read_at(file, at, count), file.seek(0, 2)
        except OSError as error:
            raise _unreadable(path, error) from error


def _read_at(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _head(url: str) -> ObjectMeta:
    bucket, key = split(url)
    try:
        return obstore.head(bucket_store(bucket), key)
    except (BaseError, FileNotFoundError) as error:
        raise store_error(error, url) from error


def _range(url: str, start: int, end: int) -> bytes:
    bucket, key = split(url)
    if end <= start:
        return b""
    try:
        return bytes(obstore.get_range(bucket_store(bucket), key, start=start, end=end))
    except (BaseError, FileNotFoundError) as error:
        raise store_error(error, url) from error
