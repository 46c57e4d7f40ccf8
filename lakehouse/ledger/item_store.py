"""Items of accounts by id, such as webhooks.

Their table has a row for each state; the row with the highest ``seq`` is current.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import polars as pl

from lakehouse.ledger.clock import Clock
from lakehouse.tables.group_commit import Row, TableWriter
from schemas.errors import Conflict, NotFound


class Item(Protocol):
    """A frozen dataclass whose fields are columns of its table."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str:
        """Unique among all accounts."""

    @property
    def account(self) -> str:
        """The owner of the item."""

    @property
    def created_at(self) -> dt.datetime | None:
        """None until it is stored."""

    @property
    def deleted_at(self) -> dt.datetime | None:
        """None unless it was deleted."""


ItemT = TypeVar("ItemT", bound=Item)


class ItemStore(Generic[ItemT]):
    """All items, in memory, because they are few and small. A change is applied once it is committed.

    Hold ``lock`` from reading an item until its next state is written.
    """

    def __init__(
        self,
        writer: TableWriter,
        clock: Clock,
        from_fields: Callable[..., ItemT],
        not_found: Callable[[str], NotFound],
        check_new: Callable[[ItemT, Sequence[ItemT]], None],
    ) -> None:
        """``from_fields`` makes an item of its columns, ``not_found`` the error for an id that an account lacks.

        ``check_new`` gets an item that is to be added, and the items that its account has; it raises what forbids it.
        """
        self._check_new = check_new
        self.lock = asyncio.Lock()
        self._writer = writer
        self._clock = clock
        self._from_fields = from_fields
        self._not_found = not_found
        self._by_id: dict[str, ItemT] = {}
        self._seq = 0

    async def load(self) -> list[ItemT]:
        """Read the newest state of every item from the table. Returns those that were deleted."""
        frame = await asyncio.to_thread(
            self._writer.reader().collect,
            lambda table: table.sort("seq").unique("id", keep="last", maintain_order=True),
            self._writer.version,
        )
        self._seq = int(frame.select(pl.max("seq")).item() or 0)
        items = [self._from_fields(**row) for row in frame.drop("seq").iter_rows(named=True)]
        self._by_id = {item.id: item for item in items if item.deleted_at is None}
        return [item for item in items if item.deleted_at is not None]

    def all(self) -> list[ItemT]:
        """The items of all accounts, in the order in which they were last changed."""
        return list(self._by_id.values())

    def find(self, item_id: str) -> ItemT | None:
        """The item of any account; None if it does not exist or was deleted."""
        return self._by_id.get(item_id)

    def owned(self, account: str, item_id: str) -> ItemT:
        """Raises NotFound, also for another account's item."""
        found = self._by_id.get(item_id)
        if found is None or found.account != account:
            raise self._not_found(item_id)
        return found

    def of_account(self, account: str) -> list[ItemT]:
        """An account's items, newest first."""
        own = [item for item in self._by_id.values() if item.account == account]
        return sorted(own, key=lambda item: (str(item.created_at), item.id), reverse=True)

    async def put(self, item: ItemT) -> ItemT:
        """Add or replace an item; ``created_at`` is set if it is None. Raises Conflict if its id is another account's.

        Raises what ``check_new`` raises for a new item.
        """
        async with self.lock:
            held = self._by_id.get(item.id)
            if held is not None and held.account != item.account:
                raise Conflict(f"the id {item.id} is taken", code="id_taken", param="id")
            if held is None:
                self._check_new(item, self.of_account(item.account))
            return await self.write(replace(item, created_at=item.created_at or self._clock.utc()))

    async def delete(self, account: str, item_id: str) -> ItemT:
        """The item as deleted. Raises NotFound."""
        async with self.lock:
            return await self.write(replace(self.owned(account, item_id), deleted_at=self._clock.utc()))

    def forget(self, account: str) -> None:
        """Drop an account's items from memory. The caller erases their rows."""
        for item in [one for one in self._by_id.values() if one.account == account]:
            del self._by_id[item.id]

    async def write(self, item: ItemT) -> ItemT:
        """Commit a state of an item, and apply it. The caller holds ``lock``."""
        self._seq += 1
        row: Row = {field.name: getattr(item, field.name) for field in fields(item)}
        await self._writer.append([{**row, "seq": self._seq}])
        if item.deleted_at is None:
            self._by_id[item.id] = item
        else:
            self._by_id.pop(item.id, None)
        return item
