"""The items of a conversation in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from schemas.domain import SPEECH_RATE_HZ
from schemas.errors import InvalidRequest
from serve.realtime.items import HeardContent, Item, SpokenContent, new_id

ROOT: Final = "root"
MAX_ITEMS: Final = 10_000
KEPT_SOUND_BYTES: Final = 2 * 1024 * 1024
"""Audio of items that is kept for retrieval: the latest 44 to 65 s. Older audio is dropped; transcripts stay."""


class Conversation:
    """Items by id and in order. For the event loop of its session only."""

    def __init__(self) -> None:
        self.id = new_id("conv")
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last_id(self) -> str | None:
        """The last item's id, or None."""
        return self._items[-1].id if self._items else None

    def find(self, item_id: str) -> Item | None:
        """The item with that id, or None."""
        return self._by_id.get(item_id)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert ``item`` after another, at the `ROOT`, or at the end; returns the id of the item before it.

        Raises InvalidRequest for an id in use, an unknown ``after``, or a full conversation.
        """
        if item.id in self._by_id:
            raise InvalidRequest(
                f"item.id: there is an item {item.id[:80]!r} already", code="item_create_duplicate_item_id", param="item.id"
            )
        if len(self._items) >= MAX_ITEMS:
            raise InvalidRequest(f"the conversation has {MAX_ITEMS} items; delete some, or open another session")
        place = self._place_after(after)
        self._items.insert(place, item)
        self._by_id[item.id] = item
        self.forget_old_sound()
        return self._items[place - 1].id if place else None

    def _place_after(self, after: str | None) -> int:
        if not after:
            return len(self._items)
        if after == ROOT:
            return 0
        if after not in self._by_id:
            raise InvalidRequest(
                f"previous_item_id: there is no item {after[:80]!r}", code="invalid_value", param="previous_item_id"
            )
        return next(place for place, item in enumerate(self._items) if item.id == after) + 1

    def retrieve(self, item_id: str) -> Item:
        """Raises InvalidRequest if there is none."""
        return self._get(item_id, "item_retrieve_invalid_item_id")

    def delete(self, item_id: str) -> Item:
        """Remove an item. Raises InvalidRequest if there is none."""
        item = self._get(item_id, "item_delete_invalid_item_id")
        self._items.remove(item)
        del self._by_id[item_id]
        return item

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> SpokenContent:
        """Truncate an assistant's audio to the part that was played. Raises InvalidRequest for other items."""
        item = self._get(item_id, "item_truncate_invalid_item_id")
        spoken = item.content[content_index] if content_index < len(item.content) else None
        if not isinstance(spoken, SpokenContent):
            raise InvalidRequest(
                f"only audio of the assistant can be truncated; content {content_index} of this item is not such audio",
                code="unsupported_content_type",
                param="content_index",
            )
        # Clients round the number of samples that they have played. Some truncate again with a later time.
        sent_secs = spoken.duration_secs if spoken.sent_secs is None else spoken.sent_secs
        if audio_end_ms > 1000 * sent_secs + 50:
            raise InvalidRequest(
                f"audio_end_ms: {audio_end_ms} is beyond the {round(1000 * sent_secs)} ms of this item",
                code="invalid_value",
                param="audio_end_ms",
            )
        spoken.heard_secs = min(audio_end_ms / 1000, spoken.duration_secs)
        spoken.truncated = True
        if item.status == "in_progress":
            return spoken  # its audio is still being added
        spoken.sent_secs = sent_secs
        spoken.duration_secs = spoken.heard_secs
        del spoken.pcm[2 * round(spoken.heard_secs * SPEECH_RATE_HZ) :]
        return spoken

    def forget_old_sound(self) -> None:
        """Drop the audio of older items beyond `KEPT_SOUND_BYTES`."""
        kept = 0
        for item in reversed(self._items):
            for part in item.content:
                if not isinstance(part, (HeardContent, SpokenContent)) or not part.pcm:
                    continue
                kept += len(part.pcm)
                if kept > KEPT_SOUND_BYTES and item.status != "in_progress" and _is_settled(part):
                    part.pcm = b"" if isinstance(part, HeardContent) else bytearray()

    def _get(self, item_id: str, code: str) -> Item:
        item = self._by_id.get(item_id)
        if item is None:
            raise InvalidRequest(f"there is no item {item_id[:80]!r} in the conversation", code=code)
        return item


def _is_settled(part: HeardContent | SpokenContent) -> bool:
    return isinstance(part, SpokenContent) or part.recognised.is_set()
