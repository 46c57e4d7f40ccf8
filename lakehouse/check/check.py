"""Runs all checks of tables and objects."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping

import polars as pl

from lakehouse.check.findings import Finding, Kind
from lakehouse.check.object_checks import check_objects
from lakehouse.check.table_checks import check_files, check_leases, check_lexemes, check_projection, check_rows
from lakehouse.ledger.projection import PROJECT_APP_ID
from lakehouse.maintenance.unfinished_files import unfinished_files
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.tables.open_table import open_table

GRACE = dt.timedelta(hours=24)
"""A younger object may belong to a row that is still to be written."""
_NO_TABLE = frozenset({Kind.UNREADABLE_TABLE, Kind.MISSING_FILE, Kind.DAMAGED_FILE})


async def check(location: Location, versions: Mapping[str, int], share: float) -> AsyncIterator[Finding]:
    """All damage of the tables at ``versions`` and of the objects that they name.

    ``share`` is the share of objects and rows whose content is compared, above 0, at most 1. A table that cannot be read
    is reported, and left out of the other checks.
    """
    broken = set()
    for finding in await asyncio.to_thread(lambda: list(check_files(location, versions))):
        if finding.kind in _NO_TABLE:
            broken.add(finding.where.removeprefix("tables/").partition("/")[0])
        yield finding
    scans = {
        name: pl.scan_delta(location.table_uri(name), version=at) for name, at in versions.items() if name not in broken
    }
    for finding in await asyncio.to_thread(lambda: list(_check_rows(location, versions, scans, share))):
        yield finding
    before = dt.datetime.now(dt.UTC) - GRACE
    async for finding in check_objects(Objects(location), scans, before, share):
        yield finding
    for path in await asyncio.to_thread(lambda: list(unfinished_files(location, before))):
        where = str(path.relative_to(location.root))
        yield Finding(Kind.UNFINISHED_FILE, where, "a process that has ended was writing it, and no row names it")


def _check_rows(
    location: Location, versions: Mapping[str, int], scans: Mapping[str, pl.LazyFrame], share: float
) -> Iterator[Finding]:
    yield from check_rows(scans)
    if {"job_events", "transcriptions", "segments"} <= scans.keys():
        tables = (open_table(location.table_uri(name), version=versions[name]) for name in ("transcriptions", "segments"))
        projected = min(table.transaction_version(PROJECT_APP_ID) or -1 for table in tables)
        yield from check_projection(scans, projected)
    if "job_events" in scans:
        yield from check_leases(scans["job_events"])
    yield from check_lexemes(scans, max(1, round(1 / share)))
