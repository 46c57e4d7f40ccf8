"""The stored copy of an authenticated render and its row of ``tts_renders``, written after the response, off its path.

While a render streams its sound is only put aside. What ended is encoded by a process of low priority and written a few
times a second, all that waits together: streams under way are not slowed, and their rows share a commit.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from lakehouse.objects import Objects, account_folder
from schemas.domain import SPEECH_RATE_HZ, Seconds, TtsRender
from schemas.engines import RenderedChunk
from serve.copy_encoder import CopyEncoder

if TYPE_CHECKING:
    from serve.gateway.services import LedgerClient

logger = logging.getLogger(__name__)

_GATHER_SECS: Final = 0.4
"""Between one writing and the next: well within the second in which a render is to be found in the history."""
_SMALL_BYTES: Final = 30 * 2 * SPEECH_RATE_HZ
"""Sound put aside until its end; a longer render is encoded while it goes on, so that it fills no memory."""
_AHEAD_BYTES: Final = 10 * _SMALL_BYTES
"""Sound of one render that may wait to be encoded before the render waits for it."""
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

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._held = bytearray()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._row: TtsRender | None = None
        self._writing = False
        self._broken = False

    async def add(self, pcm: bytes) -> None:
        """``pcm`` is s16le at 24 kHz mono. Waits only when the store is some minutes of sound behind."""
        while len(self._held) >= _AHEAD_BYTES and not self._broken:
            self._room.clear()
            await self._room.wait()
        if self._broken:
            return
        self._held += pcm
        self._changed.set()
        if not self._writing and len(self._held) >= _SMALL_BYTES:
            self._writing = True
            self._keeper.write_now(self)

    def finish(self, row: TtsRender) -> None:
        """The render has ended, whole or not; ``row`` lacks its key and the object."""
        self._row = row
        self._changed.set()
        if not self._writing:
            self._writing = True
            self._keeper.write_soon(self)

    async def stored(self, objects: Objects, encoder: CopyEncoder) -> TtsRender:
        """Write the object; gives the row, without an object when the store fails."""
        identity = uuid.uuid4().hex
        key: str | None = None
        try:
            key = await self._store(objects, encoder, f"{identity}.opus")
        except Exception as error:  # whatever a store raises, the row is written
            logger.error("the copy of a render could not be stored: %s", type(error).__name__)  # noqa: TRY400
            self._give_up()
        return replace(await self._ended(), audio_key=key, import_key=identity)

    async def _store(self, objects: Objects, encoder: CopyEncoder, name: str) -> str:
        if self._row is not None and len(self._held) < _SMALL_BYTES:
            key = f"renders/{account_folder(self._row.account)}/{name}"
            await objects.put_bytes(key, await encoder.open().finish(self._take()))
            return key
        async with aclosing(self._encoded_as_it_comes(encoder)) as encoded:
            stored = await objects.put_stream(encoded, limit_bytes=_COPY_MAX_BYTES)
        row = await self._ended()
        key = f"renders/{account_folder(row.account)}/{name}"
        await objects.adopt(stored, key)
        return key

    async def _encoded_as_it_comes(self, encoder: CopyEncoder) -> AsyncGenerator[bytes, None]:
        copy, is_whole = encoder.open(), False
        try:
            while self._held or self._row is None:
                if len(self._held) < _SMALL_BYTES and self._row is None:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                yield await copy.feed(self._take())
            rest = await copy.finish()
            is_whole = True
            yield rest
        finally:
            if not is_whole:
                await copy.drop()

    async def _ended(self) -> TtsRender:
        while self._row is None:
            self._changed.clear()
            await self._changed.wait()
        return self._row

    def _take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        self._room.set()
        return taken

    def _give_up(self) -> None:
        """Nobody encodes any more: whoever waits to add sound must not wait for ever."""
        self._broken = True
        self._take()


class Keeper:
    """Copies on their way; they outlive their requests and are waited for at the end."""

    def __init__(self, objects: Objects, ledger: LedgerClient) -> None:
        self._objects = objects
        self._ledger = ledger
        self._encoder = CopyEncoder()
        self._ended: list[Copy] = []
        self._gathering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()

    def open(self) -> Copy:
        if not self._encoder.is_running:
            self._keep_going(self._encoder.start())
        return Copy(self)

    def write_now(self, copy: Copy) -> None:
        """Begin with a render that is still under way."""
        self._start([copy])

    def write_soon(self, copy: Copy) -> None:
        """Write a render that has ended, with the others that end within moments."""
        self._ended.append(copy)
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())

    async def drain(self, timeout_secs: Seconds) -> None:
        """Wait until everything that ended or is under way is kept, or the time is over."""
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_secs):
                while waiting := self._tasks | ({self._gathering} if self._gathering else set()):
                    await asyncio.wait(waiting)
        except TimeoutError:
            logger.error("renders were not recorded in time")  # noqa: TRY400
        finally:
            self._hurry.clear()
            await self._encoder.close()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(_GATHER_SECS):
                await self._hurry.wait()
        except TimeoutError:
            pass
        ended, self._ended, self._gathering = self._ended, [], None
        self._start(ended)

    def _start(self, copies: Sequence[Copy]) -> None:
        self._keep_going(self._write(copies))

    def _keep_going(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _write(self, copies: Sequence[Copy]) -> None:
        rows = await asyncio.gather(*(copy.stored(self._objects, self._encoder) for copy in copies))
        await self._ledger.record_renders(rows)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("renders could not be recorded: %s", type(error).__name__)
