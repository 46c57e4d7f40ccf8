"""Memory of realtime sessions with STUB engines: of one among many, and its growth over an hour of conversation.

Sessions run in this process without sockets. Audio is fed faster than real time, and the session's clock follows it.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import orjson
import psutil

from audio.vad import VoiceActivity
from benchmarks.measure import Measure
from benchmarks.platform.realtime import turn
from benchmarks.platform.realtime_stub import StubConversationEngines
from schemas.api.realtime.session_config import Audio, AudioOutput, RealtimeConfig
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.settings import RealtimeSettings
from schemas.speech import VoiceProfile
from serve.realtime.event_writer import EventWriter
from serve.realtime.session import Session
from serve.realtime.session_parts import SessionParts

_MINUTE_BYTES: Final = 2 * 60 * SPEECH_RATE_HZ
_WARM_MINUTES: Final = 12
"""After them, the kept audio and all caches of a session have their full size."""


class _Talk:
    """One session, and a client that reads everything."""

    def __init__(self, activity: VoiceActivity) -> None:
        self._secs: Seconds = 0.0
        self._writer = EventWriter(self._read)
        parts = SessionParts(
            engines=StubConversationEngines(),
            activity=activity,
            end_of_turn=None,
            voice=_voice,
            settings=RealtimeSettings(realtime_lead_secs=60.0),
            window_secs=13.0,
            clock=lambda: self._secs,
        )
        self._session = Session(
            parts, self._writer, RealtimeConfig(model="stub", audio=Audio(output=AudioOutput(voice="stub")))
        )
        self._writing = asyncio.create_task(self._writer.run())
        self._answered = asyncio.Event()

    async def _read(self, event: str) -> None:
        if '"response.done"' in event:
            self._answered.set()

    async def minute(self, speech: bytes) -> None:
        """A turn and its answer, and silence for the rest of the minute."""
        self._answered.clear()
        sound = speech + bytes(_MINUTE_BYTES - len(speech))
        step = 2 * SPEECH_RATE_HZ
        for at in range(0, len(sound), step):
            audio = base64.b64encode(sound[at : at + step]).decode()
            await self._session.take(orjson.dumps({"type": "input_audio_buffer.append", "audio": audio}).decode())
            self._secs += 1.0
        async with asyncio.timeout(30):
            await self._answered.wait()

    async def close(self) -> None:
        await self._session.close()
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)


async def _voice(_: str) -> VoiceProfile:
    return VoiceProfile(voice_id="stub", base="")


def _resident_mb() -> float:
    """Without memory that the allocator holds free: other sessions use it."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(AttributeError):  # a C library without it
            ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 1e6


def measure(sessions: int, minutes: int) -> Sequence[Measure]:
    """``sessions`` at once for some minutes each, then one for ``minutes``, more than twelve."""
    return asyncio.run(_measure(sessions, minutes))


async def _measure(sessions: int, minutes: int) -> Sequence[Measure]:
    activity, speech = VoiceActivity(), turn(1)
    first = _Talk(activity)
    for _ in range(_WARM_MINUTES):
        await first.minute(speech)
    before = _resident_mb()
    for _ in range(minutes - _WARM_MINUTES):
        await first.minute(speech)
    grown = _resident_mb() - before
    before = _resident_mb()
    others = [_Talk(activity) for _ in range(sessions)]
    for talk in others:
        for _ in range(2):
            await talk.minute(speech)
    each = (_resident_mb() - before) / sessions
    for talk in (first, *others):
        await talk.close()
    return [
        Measure("memory of a session", each, "MB"),
        Measure(f"growth of a session from minute {_WARM_MINUTES} to {minutes}", grown, "MB"),
    ]
