"""The stored sound of a render as a file of another format, so that nobody renders a text again to save it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Final, cast

from audio.encode import FileEncoder, Format
from lakehouse.storage.objects import Objects
from schemas.domain import SPEECH_RATE_HZ
from serve.account_slots import AccountSlots
from serve.services.stored_sounds import StoredSounds, blocks_of

IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""Size over which a file that is made for a response is on disk."""
_READ_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 16
"""Files of other formats that one gateway makes or sends at once. Each may take hundreds of megabytes of the disk, and they
are made one after the other, so that others wait for all that an account has asked for.
"""


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A complete file: its size in bytes and its content. The holder must close it."""

    size: int
    content: AsyncGenerator[bytes, None]
    held: AsyncExitStack
    """What is given back when it is closed."""

    async def aclose(self) -> None:
        """Remove the file."""
        await self.held.aclose()


class RenderFiles:
    """The service behind `/history/tts/{id}/audio`."""

    def __init__(self, objects: Objects, sounds: StoredSounds) -> None:
        self._objects = objects
        self._sounds = sounds
        self._slots = AccountSlots(_AT_ONCE, "downloads of sound in other formats")

    async def open(self, account: str, key: str, fmt: Format) -> SoundFile:
        """The sound of the object ``key``, Ogg Opus, as ``fmt``: 24 kHz mono. ``opus`` is the object itself.

        Raises NotFound; InvalidAudio for a damaged object; Unavailable; RateLimited for an account that has many such files
        open.
        """
        if fmt == "opus":
            size = await self._objects.size(key)
            return SoundFile(size, _stored(await self._objects.open_range(key, 0, size)), AsyncExitStack())
        async with AsyncExitStack() as held:
            held.enter_context(self._slots.slot(account))
            file = held.enter_context(cast("IO[bytes]", SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)))  # noqa: SIM115
            encoder = FileEncoder(fmt, SPEECH_RATE_HZ, file)
            async with self._sounds.decoded(key, SPEECH_RATE_HZ) as path:
                for block in blocks_of(path, SPEECH_RATE_HZ):
                    await asyncio.to_thread(encoder.feed, block)
            await asyncio.to_thread(encoder.finish)
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            return SoundFile(size, content_of(file), held.pop_all())


async def content_of(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    """The rest of a file in pieces; closes it."""
    try:
        while piece := file.read(_READ_BYTES):
            yield piece
    finally:
        file.close()


async def _stored(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        yield chunk
