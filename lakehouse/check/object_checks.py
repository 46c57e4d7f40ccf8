"""Compares rows with objects, and objects with their digests."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import orjson
import polars as pl

from lakehouse.check.findings import Finding, Kind
from lakehouse.storage.objects import Objects, at_once
from lakehouse.storage.references import references
from lakehouse.storage.result_objects import main_key, result_objects, text_key, written_keys
from schemas.domain import Transcript
from schemas.errors import NotFound

FOLDERS: Final = ("audio", "results", "playback", "conversations", "renders", "voices")
"""Folders in which every object is named by a row."""
_AT_ONCE: Final = 500


async def check_objects(
    objects: Objects, scans: Mapping[str, pl.LazyFrame], before: dt.datetime, share: float
) -> AsyncIterator[Finding]:
    """Objects that rows name and that are missing; objects written ``before`` that no row names; damaged objects.

    ``share``, from 0 to 1, is the share of objects whose content is read and compared.
    """
    named = await asyncio.to_thread(references, scans.get)
    # Listed after the rows were read, so every object that a row names was written before.
    there = {key: written for folder in FOLDERS async for key, written in objects.list_times(folder)}
    for key, table, row in named.iter_rows():
        if key not in there and not await objects.exists(key):
            is_view = key != main_key(key) and main_key(key) in there
            kind = Kind.MISSING_VIEW if is_view else Kind.MISSING_OBJECT
            yield Finding(kind, key, f"{table} {row} names it, and it does not exist")
    known = set(named["key"])
    for key, written in there.items():
        if key not in known and main_key(key) not in known and written < before:
            yield Finding(Kind.ORPHANED_OBJECT, key, "no row names it")
    sampled = [key for key in there if key in known and is_sampled(key, share)]
    for at in range(0, len(sampled), _AT_ONCE):
        for found in await at_once(_damage(objects, key) for key in sampled[at : at + _AT_ONCE]):
            if found is not None:
                yield found


def is_sampled(key: str, share: float) -> bool:
    """Whether an object is in the sample of ``share`` (0 to 1) of all; the same objects every time."""
    number = int.from_bytes(hashlib.blake2b(main_key(key).encode(), digest_size=8).digest())
    return number < share * 2**64


async def _damage(objects: Objects, key: str) -> Finding | None:
    try:
        if key.startswith("audio/"):
            if await objects.is_damaged(key):
                return Finding(Kind.DAMAGED_OBJECT, key, "its content does not have the digest in its name; send it again")
        elif key.startswith("results/") and key == main_key(key):
            return await _result_damage(objects, key)
        # The text of a transcript without words is empty.
        elif key != text_key(main_key(key)) and not await objects.size(key):
            return Finding(Kind.DAMAGED_OBJECT, key, "it is empty")
    except NotFound:
        return None  # The object was deleted meanwhile.
    return None


async def _result_damage(objects: Objects, key: str) -> Finding | None:
    """Damage of a result. A result is stored twice, whole and as its views. If they differ, one of them is damaged."""
    stored = await objects.get_bytes(key)
    try:
        views = await asyncio.to_thread(lambda: result_objects(key, Transcript.from_json(orjson.loads(stored))))
    except (ValueError, KeyError, TypeError):
        return Finding(
            Kind.DAMAGED_OBJECT, key, "it cannot be parsed as a transcript; restore a backup, or transcribe it again"
        )
    for view in written_keys(key)[1:]:
        if await objects.exists(view) and await objects.get_bytes(view) != views[view]:
            return Finding(Kind.DAMAGED_OBJECT, view, "it differs from the result that it is a view of")
    return None
