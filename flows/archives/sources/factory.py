"""Finds the source that an argument names, and reads its entries in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path

from flows.archives.sources.entries import Entry, Problem, Source
from flows.archives.sources.local import FolderSource, GlobSource
from flows.archives.sources.manifest import SUFFIXES, ManifestSource
from flows.archives.sources.s3 import BucketSource, split
from schemas.domain import JobOptions
from schemas.errors import InvalidRequest, NotFound


def open_source(text: str, options: JobOptions) -> Source:
    """A folder, a manifest, ``s3://bucket/prefix`` or a glob. Raises NotFound or InvalidRequest for anything else.

    ``options`` apply to rows of a manifest, where a row does not set its own.
    """
    if text.startswith("s3://"):
        split(text)
        return BucketSource(text)
    if "://" in text:
        raise InvalidRequest(
            f"{text} is no source: list web addresses in a manifest, one a row", code="invalid_source", param="source"
        )
    path = Path(text).expanduser()
    if path.is_dir():
        return FolderSource(path)
    if path.suffix.lower() in SUFFIXES and not _is_pattern(text):
        return ManifestSource(path, options)
    if path.is_file():
        raise InvalidRequest(
            f"{text} is one file; `fluxions transcribe` takes it, an archive is a folder, a glob, s3:// or a manifest "
            f"({', '.join(SUFFIXES)})",
            code="invalid_source",
            param="source",
        )
    if _is_pattern(text):
        return GlobSource(str(path))
    raise NotFound(f"there is no folder, glob or manifest {text}", code="no_such_source", param="source")


def canonical(text: str) -> str:
    """A source as it is stored in the ledger, with an absolute path."""
    return text if "://" in text else str(Path(text).expanduser().absolute())


async def batches(source: Source, size: Callable[[], int]) -> AsyncIterator[list[Entry | Problem]]:
    """The source's entries and problems, ``size()`` at a time; disk and network block a thread, not the event loop."""
    stream = iter(source)
    while batch := await asyncio.to_thread(lambda: list(islice(stream, size()))):
        yield batch


def _is_pattern(text: str) -> bool:
    return any(c in text for c in "*?[")
