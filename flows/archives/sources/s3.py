"""Recordings in a bucket. Endpoint and credentials come from the ``AWS_*`` variables."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from flows.archives.sources.entries import Entry, Problem, filename_of
from schemas.errors import FluxionsError, Forbidden, InvalidRequest, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta  # a type of its stubs only

_RIGHTS = (PermissionDeniedError, UnauthenticatedError)
_REFUSALS = ("403 Forbidden", "401 Unauthorized", "AccessDenied", "InvalidAccessKeyId")
"""Parts of messages: the store raises no specific error for a listing that is refused."""


@dataclass(frozen=True, slots=True)
class BucketSource:
    """Every object under a prefix of whole path segments, or the one object of that name.

    Raises Forbidden, NotFound, Unavailable, also in the middle of a listing that breaks off.
    """

    url: str

    def __iter__(self) -> Iterator[Entry | Problem]:
        bucket, prefix = split(self.url)
        seen = 0
        try:
            for batch in obstore.list(bucket_store(bucket), prefix or None):
                for meta in batch:
                    if not meta["path"].endswith("/") and meta["size"]:
                        seen += 1
                        yield _entry(bucket, meta)
            if not seen and prefix:
                # A prefix matches whole path segments, so the exact name of an object lists nothing.
                yield _entry(bucket, obstore.head(bucket_store(bucket), prefix))
        except (BaseError, FileNotFoundError) as error:
            raise store_error(error, self.url) from error


def split(url: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. Raises InvalidRequest without a bucket."""
    rest = url.removeprefix("s3://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise InvalidRequest(f"{url} names no bucket; write s3://bucket/prefix", code="invalid_source", param="source")
    return bucket, key.strip("/")


@functools.cache
def bucket_store(bucket: str) -> ObjectStore:
    """The store of a bucket; one connection pool per bucket and process."""
    return from_url(f"s3://{bucket}")


def store_error(error: Exception, url: str) -> FluxionsError:
    """The error to raise for an error of the store; its message names bucket and key."""
    bucket, key = split(url)
    what = f"key {key} of bucket {bucket}" if key else f"bucket {bucket}"
    said = str(error).partition("Debug source")[0]
    if isinstance(error, _RIGHTS) or any(word in said for word in _REFUSALS):
        return Forbidden(
            f"no right to read {what}: the store refuses the credentials of AWS_ACCESS_KEY_ID", code="bucket_forbidden"
        )
    if "NoSuchBucket" in said:
        return NotFound(f"there is no bucket {bucket} ({_host()})", code="no_such_bucket")
    if isinstance(error, FileNotFoundError):
        return NotFound(f"there is no {what}", code="no_such_object")
    return Unavailable(f"{what} cannot be read just now ({type(error).__name__}, {_host()})", code="bucket_unreachable")


def _host() -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    return f"at {urlsplit(endpoint).netloc}" if endpoint else "at Amazon"


def etag(meta: ObjectMeta) -> str:
    """The ETag without quotes; empty if the store gives none."""
    return str(meta["e_tag"] or "").strip('"')


def _entry(bucket: str, meta: ObjectMeta) -> Entry:
    return Entry(f"s3://{bucket}/{meta['path']}", filename_of(meta["path"]), version=etag(meta))
