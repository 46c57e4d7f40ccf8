"""Fetches the files of a batch: reads and hashes those that changed, and records those that cannot be read."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES
from clients.archives import ArchiveClient
from flows.archives.batch_spec import BatchSpec, begun_file, is_settled, key_of, noted_entry, source_file
from flows.archives.sources.entries import Entry
from flows.archives.sources.fetch import NO_RECORDING, fetch, version
from schemas.archives import (
    BATCH_FILES,
    PORTION_BYTES,
    SMALL_FILE_BYTES,
    ArchiveFile,
    ArchiveKind,
    FileFailure,
    NotedFile,
    SourceFile,
)
from schemas.errors import Conflict, FluxionsError, InvalidRequest


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that can be begun. ``path`` is its local copy; None if only the gateway has its bytes."""

    source: SourceFile
    path: Path | None = None

    def delete_copy(self) -> None:
        """Delete the local copy, once it is not needed any more."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class FileFetcher:
    """Fetches the files of a batch, a portion at a time."""

    def __init__(self, spec: BatchSpec, client: ArchiveClient, scratch: Path, limit_bytes: int) -> None:
        self._spec = spec
        self._client = client
        self._scratch = scratch
        self._limit_bytes = limit_bytes

    async def portions(self, size: int) -> AsyncIterator[list[FetchedFile]]:
        """Files that still need work, at most ``size`` at a time. Unreadable ones are recorded, settled ones left out."""
        spec = self._spec
        keys = [key_of(entry) for entry in spec.entries] + [file.key for file in spec.files]
        known = await self._client.known(spec.archive_id, keys)
        for at in range(0, len(spec.entries), size):
            entries = spec.entries[at : at + size]
            found = await asyncio.gather(*(self._fetch(entry, known.get(key_of(entry))) for entry in entries))
            noted = [one for one in found if isinstance(one, NotedFile)]
            if noted:
                await self._client.note(spec.archive_id, noted)
            if files := [one for one in found if isinstance(one, FetchedFile)]:
                yield files
        left = [FetchedFile(file) for file in spec.files if not self._is_settled(known.get(file.key), file.version)]
        for at in range(0, len(left), size):
            yield left[at : at + size]

    async def send(self, files: Sequence[FetchedFile]) -> list[FetchedFile]:
        """Upload files whose bytes the gateway needs, small ones together. Returns those it accepted; records refusals."""
        sendable = [(one, one.path) for one in files if one.path is not None and one.path.exists()]
        gone = FileFailure("audio_missing", "the recording is gone from the store")
        refused = {one.source.key: gone for one in files if not any(one is file for file, _ in sendable)}
        for portion in _together(sendable):
            refusals = await self._send(portion)
            refused |= {one.source.key: why for (one, _), why in zip(portion, refusals, strict=True) if why is not None}
        noted = []
        for file in files:
            source = file.source
            if source.key in refused:
                why = refused[source.key]
                noted.append(NotedFile(source.key, source.location, source.account, source.filename, why))
                file.delete_copy()
        if noted:
            await self._client.note(self._spec.archive_id, noted)
        return [file for file in files if file.source.key not in refused]

    async def _send(self, portion: Sequence[tuple[FetchedFile, Path]]) -> list[FileFailure | None]:
        """For each file why it was refused; None if it was accepted."""
        archive_id = self._spec.archive_id
        if len(portion) > 1:
            return await self._client.upload_many(archive_id, [(file.source, path) for file, path in portion])
        ((file, path),) = portion
        try:
            await self._client.upload(archive_id, file.source.account, file.source.sha256, path)
        except (InvalidRequest, Conflict) as error:
            return [FileFailure(error.code, error.message)]
        return [None]

    async def _fetch(self, entry: Entry, known: ArchiveFile | None) -> FetchedFile | NotedFile | None:
        """None for a file that is settled and unchanged."""
        path = self._scratch / uuid.uuid4().hex
        now = ""
        try:
            now = await version(entry)
            if self._is_settled(known, now):
                return None
            fetched = await fetch(entry, path, self._limit_bytes)
            await asyncio.to_thread(_check_head, path, fetched.size_bytes)
        except FluxionsError as error:
            path.unlink(missing_ok=True)
            options = entry.options or self._spec.options
            begun = begun_file(known, ArchiveKind.TRANSCRIBE, options) if known is not None else None
            if begun is not None:
                return FetchedFile(begun)  # An earlier run uploaded it, so the gateway has its bytes.
            # In a folder or bucket other files than recordings are expected; in a manifest they are a mistake.
            skipped = error.code in NO_RECORDING and not entry.place
            failure = FileFailure(error.code, error.message, error.retryable)
            return noted_entry(self._spec, entry, now, failure, skipped=skipped)
        return FetchedFile(source_file(self._spec, entry, fetched, now), path)

    def _is_settled(self, known: ArchiveFile | None, now: str) -> bool:
        return known is not None and is_settled(known, now, retry_failed=self._spec.retry_failed)


def _together(files: Sequence[tuple[FetchedFile, Path]]) -> list[list[tuple[FetchedFile, Path]]]:
    """Small files in portions that one call may send, every other alone."""
    portions: list[list[tuple[FetchedFile, Path]]] = []
    small: list[tuple[FetchedFile, Path]] = []
    room = 0
    for one in files:
        size = one[0].source.size_bytes
        if size > SMALL_FILE_BYTES:
            portions.append([one])
            continue
        if size > room or len(small) == BATCH_FILES:
            small, room = [], PORTION_BYTES
            portions.append(small)
        small.append(one)
        room -= size
    return portions


def _check_head(path: Path, size_bytes: int) -> None:
    """Raises InvalidAudio for what cannot be a recording."""
    with path.open("rb") as file:
        reject_non_audio(file.read(HEAD_BYTES), size_bytes)
