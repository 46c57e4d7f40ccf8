"""Files of a batch made ready: those that changed are read and hashed, what cannot be read is noted with its reason."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio.sniff import HEAD_BYTES, refuse
from flows.archive_client import ArchiveClient
from flows.archive_order import Order, begun_file, is_settled, key_of, noted_entry, source_file
from flows.sources.entries import Entry
from flows.sources.reading import fetch, version
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

_NO_RECORDING = ("not_audio", "playlist")


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that may be begun. ``path`` holds its bytes; None where the gateway has them and nobody else."""

    source: SourceFile
    path: Path | None = None

    def drop(self) -> None:
        """Its bytes are needed no more."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Fetcher:
    """Reads an order's files, a portion at a time."""

    def __init__(self, order: Order, client: ArchiveClient, scratch: Path, limit_bytes: int) -> None:
        self._order = order
        self._client = client
        self._scratch = scratch
        self._limit_bytes = limit_bytes

    async def portions(self, size: int) -> AsyncIterator[list[Ready]]:
        """All files that are not known to be settled, ``size`` at a time or fewer; the others are noted or left out."""
        order = self._order
        keys = [key_of(entry) for entry in order.entries] + [file.key for file in order.files]
        known = await self._client.known(order.archive_id, keys)
        for at in range(0, len(order.entries), size):
            entries = order.entries[at : at + size]
            found = await asyncio.gather(*(self._ready(entry, known.get(key_of(entry))) for entry in entries))
            noted = [one for one in found if isinstance(one, NotedFile)]
            if noted:
                await self._client.note(order.archive_id, noted)
            if ready := [one for one in found if isinstance(one, Ready)]:
                yield ready
        left = [Ready(file) for file in order.files if not self._is_settled(known.get(file.key), file.version)]
        for at in range(0, len(left), size):
            yield left[at : at + size]

    async def send(self, files: Sequence[Ready]) -> list[Ready]:
        """Upload what the gateway asked for, small files together; gives those it took. A refusal is noted."""
        sendable = [(one, one.path) for one in files if one.path is not None and one.path.exists()]
        gone = FileFailure("audio_missing", "the recording is gone from the store")
        refused = {one.source.key: gone for one in files if not any(one is ready for ready, _ in sendable)}
        for portion in _together(sendable):
            refusals = await self._send(portion)
            refused |= {one.source.key: why for (one, _), why in zip(portion, refusals, strict=True) if why is not None}
        noted = []
        for ready in files:
            source = ready.source
            if source.key in refused:
                why = refused[source.key]
                noted.append(NotedFile(source.key, source.location, source.account, source.filename, why))
                ready.drop()
        if noted:
            await self._client.note(self._order.archive_id, noted)
        return [ready for ready in files if ready.source.key not in refused]

    async def _send(self, portion: Sequence[tuple[Ready, Path]]) -> list[FileFailure | None]:
        """Why each was refused; None for what was taken."""
        archive_id = self._order.archive_id
        if len(portion) > 1:
            return await self._client.upload_many(archive_id, [(ready.source, path) for ready, path in portion])
        ((ready, path),) = portion
        try:
            await self._client.upload(archive_id, ready.source.account, ready.source.sha256, path)
        except (InvalidRequest, Conflict) as error:
            return [FileFailure(error.code, error.message)]
        return [None]

    async def _ready(self, entry: Entry, known: ArchiveFile | None) -> Ready | NotedFile | None:
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
            options = entry.options or self._order.options
            begun = begun_file(known, ArchiveKind.TRANSCRIBE, options) if known is not None else None
            if begun is not None:
                return Ready(begun)  # An earlier run had read it: the gateway has its bytes.
            # Among files nobody listed one by one, something else than a recording is no failure.
            skipped = error.code in _NO_RECORDING and not entry.place
            failure = FileFailure(error.code, error.message, error.retryable)
            return noted_entry(self._order, entry, now, failure, skipped=skipped)
        return Ready(source_file(self._order, entry, fetched, now), path)

    def _is_settled(self, known: ArchiveFile | None, now: str) -> bool:
        return known is not None and is_settled(known, now, retry_failed=self._order.retry_failed)


def _together(files: Sequence[tuple[Ready, Path]]) -> list[list[tuple[Ready, Path]]]:
    """Small files in portions that one call may send, every other alone."""
    portions: list[list[tuple[Ready, Path]]] = []
    small: list[tuple[Ready, Path]] = []
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
        refuse(file.read(HEAD_BYTES), size_bytes)
