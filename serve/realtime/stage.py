"""Applies the effects of a response: events, and items of the conversation.

While the stage is held, effects are queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from schemas.api.realtime.server_events import Event, item_event
from serve.realtime.conversation import Conversation
from serve.realtime.event_writer import EventWriter
from serve.realtime.items import Item


class Stage:
    """The stage of one response. ``conversation`` is None for an out-of-band response."""

    def __init__(self, writer: EventWriter, conversation: Conversation | None, *, held: bool = False) -> None:
        self._writer = writer
        self._conversation = conversation
        self._held: list[Callable[[], None]] | None = [] if held else None
        self._released = asyncio.Event()
        if not held:
            self._released.set()
        self._previous: dict[str, str | None] = {}

    def release(self) -> None:
        """Apply queued effects in order, and further ones at once."""
        held, self._held = self._held or [], None
        for act in held:
            act()
        self._released.set()

    async def released(self) -> None:
        """Wait until effects are applied at once."""
        await self._released.wait()

    def drop(self) -> None:
        """Drop queued effects and all further ones."""
        self._held = []

    def emit(self, event: Event) -> None:
        """Send an event."""
        self.do(partial(self._writer.send, event))

    def add(self, item: Item) -> None:
        """Add ``item`` to the conversation and announce it. Raises InvalidRequest if the conversation is full."""
        if self._conversation is not None:
            self.do(partial(self._add, item, self._conversation, item.body()))

    def complete(self, item: Item) -> None:
        """Announce that an added item is complete."""
        if self._conversation is not None:
            self.do(partial(self._complete, item.id, item.body()))

    def do(self, act: Callable[[], None]) -> None:
        """Apply an effect now, or at the release."""
        if self._held is None:
            act()
        else:
            self._held.append(act)

    def _add(self, item: Item, conversation: Conversation, body: Event) -> None:
        self._previous[item.id] = conversation.add(item)
        self._writer.send(item_event("conversation.item.added", body, self._previous[item.id]))

    def _complete(self, item_id: str, body: Event) -> None:
        self._writer.send(item_event("conversation.item.done", body, self._previous.get(item_id)))
