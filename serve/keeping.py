"""The stored copy of an authenticated render and its row of ``tts_renders``, written beside the response."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from audio.encode import Encoder
from lakehouse.objects import Objects, account_folder
from schemas.domain import SPEECH_RATE_HZ, Seconds, TtsRender
from schemas.engines import RenderedChunk

if TYPE_CHECKING:
    from serve.gateway.services import LedgerClient

logger = logging.getLogger(__name__)

_AHEAD: Final = 600
"""Chunks (of a second or less each) that may wait to be encoded before the render waits for them."""
_COPY_MAX_BYTES: Final = 2**32


@dataclass(slots=True)
class Tally:
    """What became of a render so far."""

    audio_secs: Seconds = 0.0
    chunks: int = 0
    checked: int = 0
    failed: int = 0
    retries: int = 0
    word_error_rate: float | None = None
    """Of the worst chunk that was checked."""
    spoken_chars: int = 0
    """Characters of the text up to the end of the last finished passage."""

    def add(self, chunk: RenderedChunk, num_chars: int) -> None:
        self.audio_secs += chunk.duration_secs
        if not chunk.ends_passage:
            return
        self.chunks += 1
        self.retries += chunk.retries
        self.spoken_chars = num_chars if chunk.next_start is None else chunk.next_start
        if chunk.passed is not None:
            self.checked += 1
            self.failed += not chunk.passed
        if chunk.word_error_rate is not None:
            self.word_error_rate = max(self.word_error_rate or 0.0, chunk.word_error_rate)


class Copy:
    """One render on its way into the store: sound while it is made, then what became of it."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._row: asyncio.Future[TtsRender] = asyncio.get_running_loop().create_future()
        self._broken = False

    async def add(self, pcm: bytes) -> None:
        """``pcm`` is s16le at 24 kHz mono. Waits only when the store is some minutes of sound behind."""
        while self._waiting.qsize() >= _AHEAD and not self._broken:
            self._room.clear()
            await self._room.wait()
        if not self._broken:
            self._waiting.put_nowait(pcm)

    def finish(self, row: TtsRender) -> None:
        """The render has ended, whole or not; ``row`` lacks its key and the object."""
        self._row.set_result(row)
        self._waiting.put_nowait(None)

    async def keep(self, objects: Objects, ledger: LedgerClient) -> None:
        """Write the object, then the row; without the object when the store fails."""
        identity = uuid.uuid4().hex
        key: str | None = None
        try:
            stored = await objects.put_stream(self._encoded(), limit_bytes=_COPY_MAX_BYTES)
            row = await self._row
            key = f"renders/{account_folder(row.account)}/{identity}.opus"
            await objects.adopt(stored, key)
        except Exception as error:  # whatever a store raises, the row is written
            logger.error("the copy of a render could not be stored: %s", type(error).__name__)  # noqa: TRY400
            key = None
            self._give_up()
        await ledger.record_tts(replace(await self._row, audio_key=key, import_key=identity))

    def _give_up(self) -> None:
        """Nobody encodes any more: whoever waits to add sound must not wait for ever."""
        self._broken = True
        self._room.set()

    async def _encoded(self) -> AsyncIterator[bytes]:
        encoder = Encoder("opus", SPEECH_RATE_HZ, cheap=True)
        ended = False
        while not ended:
            pieces = [await self._waiting.get()]
            while not self._waiting.empty():
                pieces.append(self._waiting.get_nowait())
            self._room.set()
            ended = pieces[-1] is None
            pcm = b"".join(piece for piece in pieces if piece)
            yield await asyncio.to_thread(encoder.feed, np.frombuffer(pcm, "<i2"))
        yield await asyncio.to_thread(encoder.finish)


class Keeper:
    """Copies on their way; they outlive their requests and are waited for at the end."""

    def __init__(self, objects: Objects, ledger: LedgerClient) -> None:
        self._objects = objects
        self._ledger = ledger
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> Copy:
        copy = Copy()
        task = asyncio.create_task(copy.keep(self._objects, self._ledger))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return copy

    async def drain(self, timeout_secs: Seconds) -> None:
        """Wait until everything under way is kept, or the time is over."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_secs)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a render could not be recorded: %s", type(error).__name__)
