"""Sends the audio of a response at the speed at which it is played, so that an interruption stops it at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from schemas.domain import Seconds

MOST_WAITING_SECS: Final[Seconds] = 30.0
"""Synthesised audio that may wait to be sent: 1.4 MB. Beyond it, synthesis waits."""
_RESOLUTION_SECS: Final[Seconds] = 0.001

Act = Callable[[], None]


class Playout:
    """The queue of one response between its synthesis and its client. For one event loop.

    Queued actions are done in order. An action that sends audio waits while ``sounds`` is unset, while ``room`` waits,
    and while the client still has ``lead_secs`` of audio to play.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], Seconds],
        lead_secs: Seconds,
        sounds: asyncio.Event,
        room: Callable[[], Awaitable[None]],
        sleep: Callable[[Seconds], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._lead_secs = lead_secs
        self._sounds = sounds
        self._writer_room = room
        self._sleep = sleep
        self._acts: deque[tuple[Act, Seconds]] = deque()
        self._waiting_secs: Seconds = 0.0
        self._is_finished = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._sent_secs: Seconds = 0.0
        self._played_until: Seconds = 0.0
        """The time at which the client has played all audio that was sent."""

    @property
    def remaining_secs(self) -> Seconds:
        """Length of the sent audio that the client has still to play, s, if it plays audio as it arrives."""
        return max(0.0, self._played_until - self._clock()) if self._sent_secs else 0.0

    @property
    def played_secs(self) -> Seconds:
        """Length of the sent audio that the client has played, s."""
        return self._sent_secs - self.remaining_secs

    @property
    def ahead_secs(self) -> Seconds:
        """Length of the audio that the client has still to play, sent or waiting to be sent, s."""
        return self.remaining_secs + self._waiting_secs

    def add(self, act: Act, secs: Seconds = 0.0) -> None:
        """Queue an action, which sends ``secs`` of audio."""
        self._acts.append((act, secs))
        self._waiting_secs += secs
        if self._waiting_secs > MOST_WAITING_SECS:
            self._has_room.clear()
        self._changed.set()

    async def room(self) -> None:
        """Wait until more audio may be queued."""
        await self._has_room.wait()

    def finish(self) -> None:
        """Declare that nothing more will be queued: `run` ends after the last action."""
        self._is_finished = True
        self._changed.set()

    def hurry(self) -> None:
        """From now on, send audio as soon as it is available."""
        self._lead_secs = float("inf")

    async def run(self) -> None:
        """Do the queued actions until `finish`."""
        while True:
            while not self._acts:
                if self._is_finished:
                    return
                self._changed.clear()
                await self._changed.wait()
            act, secs = self._acts[0]
            if secs:
                await self._writer_room()
                await self._due()
                self._count(secs)
            self._acts.popleft()
            act()

    async def _due(self) -> None:
        while True:
            await self._sounds.wait()
            early = self.remaining_secs - self._lead_secs
            if early < _RESOLUTION_SECS:
                return
            await self._sleep(early)

    def _count(self, secs: Seconds) -> None:
        self._played_until = self._clock() + self.remaining_secs + secs
        self._sent_secs += secs
        self._waiting_secs -= secs
        if self._waiting_secs <= MOST_WAITING_SECS:
            self._has_room.set()
