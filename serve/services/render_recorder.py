"""The stored recording of an authenticated render, and its row of ``tts_renders``: written after the response.

While a render streams, its sound is only collected. When it has ended, its sound is encoded by a process of low priority.
Renders that end within 0.4 s of each other are written together. So active streams are not slowed, and rows share a
commit.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from lakehouse.ledger.interface import RecordLedger
from lakehouse.storage.objects import Objects, account_folder
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.records import TtsRender
from schemas.speech import RenderedChunk
from serve.services.opus_encoder_process import OpusEncoder

logger = logging.getLogger(__name__)

_GATHER_SECS: Final = 0.4
"""Time between two writes: well within the second after which a render must be found in the history."""
_SMALL_BYTES: Final = 30 * 2 * SPEECH_RATE_HZ
"""Audio collected until the render ends; a longer render is encoded while it runs, to bound memory."""
_WAITING_MAX_BYTES: Final = 10 * _SMALL_BYTES
"""Limit of a render's audio that waits to be encoded. At the limit the render itself waits."""
_ROWS_SECS: Final = 2.0
"""Time in which rows of renders without sound are written at shutdown."""
_RECORDING_MAX_BYTES: Final = 2**32


@dataclass(slots=True)
class RenderStats:
    """Counts of a render so far."""

    audio_secs: Seconds = 0.0
    chunks: int = 0
    checked: int = 0
    """Chunks that were verified."""
    failed: int = 0
    """Verified chunks that failed and were sent nevertheless, after their retries."""
    retries: int = 0
    word_error_rate: float | None = None
    """Word error rate of the worst verified chunk."""
    spoken_chars: int = 0
    """Characters of the text up to the end of the last finished passage."""

    def add(self, chunk: RenderedChunk, num_chars: int) -> None:
        """Count ``chunk`` of a text of ``num_chars`` characters."""
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


class RenderRecording:
    """One render that is being stored: first its audio while it is rendered, then its row."""

    def __init__(self, recorder: RenderRecorder) -> None:
        self._recorder = recorder
        self._pcm = bytearray()
        """Sound that waits to be encoded."""
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._row: TtsRender | None = None
        self._is_written = False
        """Whether the recorder has begun to write it."""
        self._has_failed = False
        self._row_id: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def add(self, pcm: bytes) -> None:
        """``pcm`` is s16le at 24 kHz mono. Waits only when the store is some minutes of sound behind."""
        while len(self._pcm) >= _WAITING_MAX_BYTES and not self._has_failed:
            self._has_room.clear()
            await self._has_room.wait()
        if self._has_failed:
            return
        self._pcm += pcm
        self._changed.set()
        if not self._is_written and len(self._pcm) >= _SMALL_BYTES:
            self._is_written = True
            self._recorder.write_now(self)

    def finish(self, row: TtsRender) -> None:
        """End the recording, whether or not the render is complete.

        ``row`` lacks the key of its object and its own identity.
        """
        self._row = row
        self._changed.set()
        if not self._is_written:
            self._is_written = True
            self._recorder.write_soon(self)

    async def row_id(self) -> int | None:
        """Id of the row, once it is committed; None if it could not be written."""
        return await asyncio.shield(self._row_id)

    def settle(self, row_id: int | None) -> None:
        """Answer `row_id`; without effect after the first time."""
        if not self._row_id.done():
            self._row_id.set_result(row_id)

    async def store(self, objects: Objects, encoder: OpusEncoder) -> TtsRender:
        """Write the object once the render has ended. Returns the row, without an object if the store fails."""
        identity = uuid.uuid4().hex
        key: str | None = None
        try:
            key = await self._store_object(objects, encoder, f"{identity}.opus")
        except Exception as error:  # whatever a store raises, the row is written
            logger.error("the recording of a render could not be stored: %s", type(error).__name__)  # noqa: TRY400
            self._discard()
        return replace(await self._ended(), audio_key=key, import_key=identity)

    async def _store_object(self, objects: Objects, encoder: OpusEncoder, name: str) -> str:
        if self._row is not None and len(self._pcm) < _SMALL_BYTES:
            key = f"renders/{account_folder(self._row.account)}/{name}"
            await objects.put_bytes(key, await encoder.open().finish(self._take()))
            return key
        async with aclosing(self._encode(encoder)) as encoded:
            stored = await objects.put_stream(encoded, limit_bytes=_RECORDING_MAX_BYTES)
        row = await self._ended()
        key = f"renders/{account_folder(row.account)}/{name}"
        await objects.adopt(stored, key)
        return key

    async def _encode(self, encoder: OpusEncoder) -> AsyncGenerator[bytes, None]:
        """Ogg Opus of a render that may still be running."""
        recording, is_whole = encoder.open(), False
        try:
            while self._pcm or self._row is None:
                if len(self._pcm) < _SMALL_BYTES and self._row is None:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                yield await recording.feed(self._take())
            rest = await recording.finish()
            is_whole = True
            yield rest
        finally:
            if not is_whole:
                await recording.abandon()

    async def _ended(self) -> TtsRender:
        while self._row is None:
            self._changed.clear()
            await self._changed.wait()
        return self._row

    def _take(self) -> bytes:
        taken = bytes(self._pcm)
        self._pcm.clear()
        self._has_room.set()
        return taken

    def _discard(self) -> None:
        """Drop all further audio, so that `add` never waits for room."""
        self._has_failed = True
        self._take()


class RenderRecorder:
    """Writes recordings in the background; they outlive their requests, and `drain` waits for them at shutdown."""

    def __init__(self, objects: Objects, records: RecordLedger) -> None:
        self._objects = objects
        self._records = records
        self._encoder = OpusEncoder()
        self._ended: list[RenderRecording] = []
        self._gathering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()

    def open(self) -> RenderRecording:
        """A new recording. Also starts the encoder's process in the background."""
        if not self._encoder.is_running:
            self._run(self._encoder.start())
        return RenderRecording(self)

    def write_now(self, recording: RenderRecording) -> None:
        """Begin to write a render that is still running."""
        self._run(self._write([recording]))

    def write_soon(self, recording: RenderRecording) -> None:
        """Write a render that has ended, together with others that end within `_GATHER_SECS`."""
        self._ended.append(recording)
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())

    async def drain(self, timeout_secs: Seconds) -> None:
        """Wait at most ``timeout_secs`` until ended renders are stored, then end the encoder.

        The rows of renders that are not encoded by then are written without audio, within `_ROWS_SECS` more.
        """
        self._draining.set()
        try:
            if not await self._is_idle(timeout_secs):
                logger.error("the sound of renders could not be stored in time")
                await self._encoder.end_for_good()
                if not await self._is_idle(_ROWS_SECS):
                    logger.error("renders were not recorded in time")
        finally:
            self._draining.clear()
            await self._encoder.close()

    async def _is_idle(self, within_secs: Seconds) -> bool:
        try:
            async with asyncio.timeout(within_secs):
                while waiting := self._tasks | ({self._gathering} if self._gathering else set()):
                    await asyncio.wait(waiting)
        except TimeoutError:
            return False
        return True

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(_GATHER_SECS):
                await self._draining.wait()
        except TimeoutError:
            pass
        ended, self._ended, self._gathering = self._ended, [], None
        self._run(self._write(ended))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background; keep a reference to its task until it is done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _write(self, recordings: Sequence[RenderRecording]) -> None:
        try:
            rows = await asyncio.gather(*(one.store(self._objects, self._encoder) for one in recordings))
            row_ids = await self._records.add_renders(rows)
            for recording, row_id in zip(recordings, row_ids, strict=True):
                recording.settle(row_id or None)  # 0: the account was deleted
        finally:
            for recording in recordings:
                recording.settle(None)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("renders could not be recorded: %s", type(error).__name__)
