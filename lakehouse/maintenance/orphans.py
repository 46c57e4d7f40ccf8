"""Removes orphans: objects that no row names, such as aborted uploads and results of attempts that lost their lease.

Names are compared by 64-bit hashes, eight bytes each. If two collide, an orphan stays. An object that a row names is
never removed. Only folders are searched in which every object must be named by a row.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.shared_files import FOLDER as SHARED
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import main_key
from schemas.tables import TABLES

_NAMED = ("audio", "results", "playback", "conversations", "renders", "voices")
FOLDERS = ("tmp", *_NAMED, "realtime-secrets", "idempotency", SHARED)
"""No row names a realtime secret, an answer to a request with an Idempotency-Key or a shared file. They are removed some
time after they expired, or were written.
"""
_LEAST_AGE = {"idempotency": dt.timedelta(hours=24)}
BATCH_OBJECTS = 10_000
_NAMING = {
    table.name: [name for name in table.schema.names if name.endswith("_key") and name != "import_key"]
    for table in TABLES
    if table.name not in ("segments", "voices", "voice_consents", "speakers")
}


def named(uris: Mapping[str, str]) -> NDArray[np.uint64]:
    """``(n,) uint64``: sorted hashes of every object key that a row of the tables names. Blocks."""
    found: list[NDArray[np.uint64]] = []
    # Events are read first, because a job stays in its events for some time after it is in the other tables.
    for name, columns in sorted(_NAMING.items(), key=lambda item: item[0] != "job_events"):
        for column in columns:
            keys = pl.scan_delta(uris[name]).select(pl.col(column).drop_nulls().hash(0))
            found.append(keys.collect()[column].to_numpy())
    # A deleted voice, speaker or consent names no objects: objects that its deletion did not erase are orphans.
    moment = pl.coalesce("deleted_at", "created_at")
    for source, order, names in (
        ("voices", moment, ("reference_key", "consent_key")),
        ("speakers", pl.col("seq"), ("reference_key", "consent_key")),
        ("voice_consents", pl.col("seq"), ("recording_key",)),
    ):
        newest = pl.scan_delta(uris[source]).sort(order).unique("id", keep="last", maintain_order=True)
        for column in names:
            keys = newest.filter(pl.col("deleted_at").is_null()).select(pl.col(column).drop_nulls().hash(0))
            found.append(keys.collect()[column].to_numpy())
    return np.unique(np.concatenate(found))


async def remove_orphans(
    objects: Objects,
    uris: Mapping[str, str],
    before: dt.datetime,
    remove: Callable[[str], Awaitable[bool]],
) -> int:
    """Remove objects last written ``before`` that no row names, and return their number.

    ``uris``: table URIs by name. ``remove`` returns False for an object that became needed since the tables were read.
    """
    removed = 0
    names = await asyncio.to_thread(named, uris)
    for folder in FOLDERS:
        latest = min(before, dt.datetime.now(dt.UTC) - _LEAST_AGE.get(folder, dt.timedelta()))
        async for batch in _batches(objects, folder, latest):
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
    positions = np.minimum(names.searchsorted(hashes), max(0, len(names) - 1))
    known = names[positions] == hashes if len(names) else np.zeros(len(keys), bool)
    return [key for key, is_known in zip(keys, known.tolist(), strict=True) if not is_known]
