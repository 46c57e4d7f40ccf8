"""Erases the objects of an item that the ledger does not take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lakehouse.storage.objects import Objects
from schemas.errors import Conflict, Forbidden


@asynccontextmanager
async def erased_if_refused(objects: Objects, *keys: str | None) -> AsyncIterator[None]:
    """The block stores the objects with these ``keys``, which no other item has, and adds their item.

    They are erased if the block raises Conflict or Forbidden. After other errors the item may have been added all the
    same; what no item names is removed with the orphans.
    """
    try:
        yield
    except (Conflict, Forbidden):
        for key in filter(None, keys):
            await objects.delete(key)
        raise
