"""The queue of events to the client: ordered, with ids, and bounded for clients that do not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import orjson

from schemas.api.realtime.server_events import Event
from schemas.domain import Seconds
from serve.realtime.items import new_id

Send = Callable[[str], Awaitable[None]]

AUDIO: Final = "response.output_audio.delta"
ROOM_BYTES: Final = 2 * 1024 * 1024
"""Queued events at which producers of audio wait: half a minute of audio."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""Most queued events; beyond it the client is disconnected."""


STALL_SECS: Final[Seconds] = 30.0


class EventWriter:
    """A queue of events that `run` sends. For one event loop; `send` never waits."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.translate: Callable[[Event], Event | None] = _unchanged
        """Translates events for beta clients; None drops an event."""
        self._waiting: deque[tuple[Event, bytes]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.overflow = asyncio.Event()
        """Set when the client has too many unread events, or reads nothing for too long."""

    @property
    def waiting_bytes(self) -> int:
        """Size of the queued events."""
        return self._bytes

    def send(self, event: Event) -> None:
        """Queue an event with a new id."""
        written = self.translate(event)
        if self.overflow.is_set() or written is None:
            return
        encoded = orjson.dumps({"event_id": new_id("event"), **written})
        self._waiting.append((event, encoded))
        self._bytes += len(encoded)
        if self._bytes > MAX_BYTES:
            self.overflow.set()
        if self._bytes > ROOM_BYTES:
            self._has_room.clear()
        self._is_idle.clear()
        self._filled.set()

    def drop_audio(self, response_id: str) -> int:
        """Remove the audio of an interrupted response from the queue; returns the number of removed events."""
        kept = [pair for pair in self._waiting if not _is_audio_of(pair[0], response_id)]
        dropped = len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        self._bytes = sum(len(encoded) for _, encoded in kept)
        self._make_room()
        return dropped

    async def room(self) -> None:
        """Wait until there is room for more audio. A client that reads nothing for `STALL_SECS` is disconnected."""
        try:
            async with asyncio.timeout(STALL_SECS):
                await self._has_room.wait()
        except TimeoutError:
            self.overflow.set()
            await self._has_room.wait()

    async def drained(self) -> None:
        """Wait until the queue is empty."""
        await self._is_idle.wait()

    async def run(self) -> None:
        """Send queued events until cancelled. Raises the exceptions of sending."""
        while True:
            if not self._waiting:
                self._is_idle.set()
                self._filled.clear()
                await self._filled.wait()
                continue
            _, encoded = self._waiting.popleft()
            self._bytes -= len(encoded)
            self._make_room()
            await self._send(encoded.decode())

    def _make_room(self) -> None:
        if self._bytes <= ROOM_BYTES:
            self._has_room.set()


def _unchanged(event: Event) -> Event:
    return event


def _is_audio_of(event: Event, response_id: str) -> bool:
    return event["type"] == AUDIO and bool(event["response_id"] == response_id)
