"""Repairs findings that can be repaired without guessing.

A missing view is made again from its result. A damaged recording is moved to ``damaged/``, so that a repeated upload
stores it anew instead of reusing the damaged object. A damaged view is moved too, and made again. Orphans, unfinished
files and abandoned scratch folders are removed. Other damage needs a backup.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from lakehouse.check.findings import REPAIRABLE, Finding, Kind
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import main_key, result_objects
from schemas.domain import Transcript
from schemas.errors import NotFound

SET_ASIDE = "damaged"


async def repair(location: Location, objects: Objects, finding: Finding) -> bool:
    """Repair the finding about an object; returns whether it was repaired.

    May be repeated. Must be called for orphans only while no ledger writes, because a running ledger may have begun to
    use them.
    """
    if finding.kind not in REPAIRABLE:
        return False
    key = finding.where
    try:
        match finding.kind:
            case Kind.MISSING_VIEW:
                return await _made_again(objects, key)
            case Kind.DAMAGED_OBJECT if key.startswith("audio/"):
                await objects.move(key, f"{SET_ASIDE}/{key}")
                return True
            case Kind.DAMAGED_OBJECT if key != main_key(key):
                await objects.move(key, f"{SET_ASIDE}/{key}")
                return await _made_again(objects, key)
            case Kind.ORPHANED_OBJECT:
                await objects.delete(key)
                return True
            case Kind.UNFINISHED_FILE:
                await asyncio.to_thread(Path(location.root, key).unlink, missing_ok=True)
                return True
    except NotFound:
        return False
    return False


async def _made_again(objects: Objects, view: str) -> bool:
    """Write a view of a result anew. The result was compared with the view before, or is the only copy."""
    result = main_key(view)
    try:
        transcript = Transcript.from_json(orjson.loads(await objects.get_bytes(result)))
    except (ValueError, KeyError, TypeError):
        return False
    await objects.put_bytes(view, result_objects(result, transcript)[view])
    return True
