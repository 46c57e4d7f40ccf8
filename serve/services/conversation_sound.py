"""Records the audio of a conversation as stereo Ogg Opus: the user left, the model right.

The user's audio arrives in real time. The model's arrives before it is played, and is sometimes removed again. So the
latest seconds are buffered until they are final, and only earlier audio is encoded. An hour takes 29 MB.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lakehouse.storage.objects import Objects, account_folder
from schemas.domain import SPEECH_RATE_HZ, Seconds
from serve.services.opus_encoder_process import OpusEncoder

HELD_SECS: Final[Seconds] = 5.0
"""Longest delay of the user's audio, and of the removal of the model's."""
_PORTION_SAMPLES: Final = 10 * SPEECH_RATE_HZ
_AHEAD_SAMPLES: Final = 300 * SPEECH_RATE_HZ
"""The model's audio is buffered for at most five minutes ahead of the user's."""
_MAX_BYTES: Final = 2**30

logger = logging.getLogger(__name__)


class TwoSides:
    """Buffers two channels by time, with silence in gaps. Samples are int16 at 24 kHz."""

    def __init__(self) -> None:
        self._start = 0
        """Number of samples taken so far. Audio before this position is final."""
        self._sides = (bytearray(), bytearray())

    def put(self, side: int, at_secs: Seconds, pcm: bytes) -> None:
        """Place s16le ``pcm`` at a time. It replaces audio there; the part before samples already taken is dropped."""
        at = round(at_secs * SPEECH_RATE_HZ) - self._start
        pcm = pcm[: len(pcm) // 2 * 2]
        if at < 0:
            pcm, at = pcm[-2 * at :], 0
        pcm = pcm[: 2 * max(0, _AHEAD_SAMPLES - at)]
        if not pcm:
            return
        sound = self._sides[side]
        if len(sound) < 2 * at:
            sound.extend(bytes(2 * at - len(sound)))
        sound[2 * at : 2 * at + len(pcm)] = pcm

    def cut(self, side: int, at_secs: Seconds) -> None:
        """Remove the audio of a channel from a time on."""
        at = max(0, round(at_secs * SPEECH_RATE_HZ) - self._start)
        del self._sides[side][2 * at :]

    @property
    def secs(self) -> Seconds:
        """End of the buffered audio."""
        return (self._start + max(map(len, self._sides)) // 2) / SPEECH_RATE_HZ

    def take(self, until_secs: Seconds) -> bytes:
        """Take the remaining audio before a time, interleaved, s16le."""
        count = max(0, round(until_secs * SPEECH_RATE_HZ) - self._start)
        both: NDArray[np.int16] = np.zeros((count, 2), np.int16)
        for number, side in enumerate(self._sides):
            known = np.frombuffer(bytes(side[: 2 * count]), "<i2")
            both[: len(known), number] = known
            del side[: 2 * count]
        self._start += count
        return both.astype("<i2").tobytes()

    def waiting_samples(self, until_secs: Seconds) -> int:
        """The number of samples that `take` would return."""
        return max(0, round(until_secs * SPEECH_RATE_HZ) - self._start)


class ConversationSound:
    """The audio of one conversation; it is encoded in another process during the conversation, and stored at the end."""

    def __init__(self, objects: Objects, encoder: OpusEncoder, account: str, session_id: str) -> None:
        self._sides = TwoSides()
        self._began = asyncio.get_running_loop().time()
        self._user_secs = 0.0
        self._grown = asyncio.Event()
        self._has_ended = False
        self._key = f"conversations/{account_folder(account)}/{session_id}.opus"
        self._objects = objects
        self._storing = asyncio.create_task(self._store(encoder))

    def user(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the user's audio at a time."""
        self._sides.put(0, at_secs, pcm)
        self._user_secs = max(self._user_secs, at_secs)
        self._grown.set()

    def model(self, at_secs: Seconds, pcm: bytes) -> None:
        """Add the model's audio at the time at which it is played."""
        self._sides.put(1, at_secs, pcm)
        self._grown.set()

    def cut_model(self, at_secs: Seconds) -> None:
        """Remove the model's audio after that time."""
        self._sides.cut(1, at_secs)

    async def end(self, duration_secs: Seconds) -> str | None:
        """Store ``duration_secs`` of audio and return the object's key; None if that failed."""
        self._sides.cut(0, duration_secs)
        self._sides.cut(1, duration_secs)
        self._has_ended = True
        self._grown.set()
        return await self._storing

    async def _store(self, encoder: OpusEncoder) -> str | None:
        try:
            async with aclosing(self._encoded(encoder)) as pieces:
                stored = await self._objects.put_stream(pieces, limit_bytes=_MAX_BYTES)
            await self._objects.adopt(stored, self._key)
        except Exception as error:  # rows are written even if the store fails
            logger.error("the sound of a conversation could not be stored: %s", type(error).__name__)  # noqa: TRY400
            self._sides = TwoSides()
            return None
        return self._key

    async def _encoded(self, encoder: OpusEncoder) -> AsyncGenerator[bytes, None]:
        recording, is_whole = encoder.open(channels=2), False
        try:
            while not self._has_ended:
                now_secs = asyncio.get_running_loop().time() - self._began
                settled_secs = max(self._user_secs, now_secs) - HELD_SECS
                if self._sides.waiting_samples(settled_secs) < _PORTION_SAMPLES:
                    self._grown.clear()
                    await self._grown.wait()
                    continue
                yield await recording.feed(self._sides.take(settled_secs))
            rest = await recording.finish(self._sides.take(self._sides.secs))
            is_whole = True
            yield rest
        finally:
            if not is_whole:
                await recording.abandon()
