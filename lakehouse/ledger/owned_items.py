"""Small items of accounts that are only stored: recorded consents to cloning, and known speakers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.ledger.item_limits import ItemLimit
from lakehouse.ledger.item_objects import ERASED_AGAIN, ItemObjects, object_keys
from lakehouse.ledger.item_store import ItemStore, ItemT
from lakehouse.tables.group_commit import TableWriter
from schemas.errors import Conflict, Forbidden, NotFound
from schemas.records import Speaker


class OwnedItems(Generic[ItemT]):
    """Implements `ItemLedger` for one kind of item."""

    def __init__(
        self,
        writer: TableWriter,
        clock: Clock,
        tasks: ChangeTasks,
        from_fields: Callable[..., ItemT],
        not_found: Callable[[str], NotFound],
        closed: ClosedAccounts,
        limit: ItemLimit,
        objects: ItemObjects,
        check_new: Callable[[ItemT, Sequence[ItemT]], None] = lambda _item, _own: None,
    ) -> None:
        """See `ItemStore` for ``from_fields`` and ``not_found``."""
        self._closed = closed
        self._limit = limit
        self._objects = objects
        self._clock = clock

        def check(item: ItemT, own: Sequence[ItemT]) -> None:
            limit.check(len(own))
            check_new(item, own)

        self._items = ItemStore(writer, clock, from_fields, not_found, check)
        self._tasks = tasks
        self.forget = self._items.forget

    async def load(self) -> None:
        """Read all items from the table, and erase what is left of those that were deleted lately."""
        lately = self._clock.utc() - ERASED_AGAIN
        for item in await self._items.load():
            if item.deleted_at is not None and item.deleted_at > lately:
                await self._objects.erase(object_keys(item))

    async def put(self, item: ItemT) -> ItemT:
        """See `ItemLedger.put`."""
        return await self._tasks.run(self._put(item))

    async def check_room(self, account: str) -> None:
        """See `ItemLedger.check_room`."""
        self._limit.check(len(self._items.of_account(account)))

    async def get(self, account: str, item_id: str) -> ItemT:
        """See `ItemLedger.get`."""
        return self._items.owned(account, item_id)

    async def of_account(self, account: str) -> list[ItemT]:
        """See `ItemLedger.of_account`."""
        return self._items.of_account(account)

    async def delete(self, account: str, item_id: str) -> ItemT:
        """See `ItemLedger.delete`."""
        return await self._tasks.run(self._delete(account, item_id))

    async def _put(self, item: ItemT) -> ItemT:
        try:
            self._closed.check(item.account)
            return await self._items.put(item)
        except (Conflict, Forbidden):
            await self._objects.erase(object_keys(item) - object_keys(self._items.find(item.id)))
            raise

    async def _delete(self, account: str, item_id: str) -> ItemT:
        gone = await self._items.delete(account, item_id)
        await self._objects.erase(object_keys(gone))
        return gone


def consent_not_found(consent_id: str) -> NotFound:
    """The error for a consent that an account lacks."""
    return NotFound(
        f"there is no voice consent {consent_id[:80]} in your account", code="consent_not_found", param="consent"
    )


def speaker_not_found(speaker_id: str) -> NotFound:
    """The error for a known speaker that an account lacks."""
    return NotFound(f"there is no speaker {speaker_id[:80]} in your account", code="speaker_not_found", param="id")


def check_speaker_name(speaker: Speaker, own: Sequence[Speaker]) -> None:
    """Raises Conflict(code="speaker_exists") if one of the account's speakers has the name."""
    if any(one.name == speaker.name for one in own):
        raise Conflict(f"name: there is a speaker {speaker.name!r} already", code="speaker_exists", param="name")
