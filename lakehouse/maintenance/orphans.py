"""Orphans: objects that no row names, such as uploads cut off and results of attempts that lost their lease.

Names are compared by 64-bit hashes, eight bytes a name: a chance collision keeps an orphan and never takes an object that
is named. Only folders whose every object is named by a row are looked into.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.objects import Objects
from lakehouse.results import main_key
from schemas.tables import TABLES

FOLDERS = ("tmp", "audio", "results", "playback")
BATCH_OBJECTS = 10_000
_NAMING = {
    table.name: [name for name in table.schema.names if name.endswith("_key") and name != "import_key"]
    for table in TABLES
    if table.name != "segments"
}


def named(uris: Mapping[str, str]) -> NDArray[np.uint64]:
    """Hashes, sorted, of every object key that a row of the tables names. Blocks."""
    found: list[NDArray[np.uint64]] = []
    # In this order: what is in none of the tables yet is an event, and an event is forgotten after it is in the others.
    for name, columns in sorted(_NAMING.items(), key=lambda item: item[0] != "job_events"):
        for column in columns:
            keys = pl.scan_delta(uris[name]).select(pl.col(column).drop_nulls().hash(0))
            found.append(keys.collect()[column].to_numpy())
    return np.unique(np.concatenate(found))


async def remove_orphans(
    objects: Objects,
    uris: Mapping[str, str],
    before: dt.datetime,
    remove: Callable[[str], Awaitable[bool]],
) -> int:
    """Remove what was last written ``before`` and no row names; gives how many.

    ``remove`` may refuse, answering False: only the ledger can tell what became needed since the tables were read.
    """
    removed = 0
    names = await asyncio.to_thread(named, uris)
    for folder in FOLDERS:
        async for batch in _batches(objects, folder, before):
            for key in await asyncio.to_thread(_unnamed, batch, names):
                removed += await remove(key)
    return removed


async def _batches(objects: Objects, folder: str, before: dt.datetime) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for key, written_at in objects.list_times(folder):
        if written_at < before:
            batch.append(key)
        if len(batch) == BATCH_OBJECTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _unnamed(keys: Sequence[str], names: NDArray[np.uint64]) -> list[str]:
    hashes = pl.Series([main_key(key) for key in keys], dtype=pl.String).hash(0).to_numpy()
    places = np.minimum(names.searchsorted(hashes), max(0, len(names) - 1))
    known = names[places] == hashes if len(names) else np.zeros(len(keys), bool)
    return [key for key, is_known in zip(keys, known.tolist(), strict=True) if not is_known]
