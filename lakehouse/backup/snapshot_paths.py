"""The files of tables at given versions, and the objects that their rows name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import obstore
import polars as pl

from lakehouse.storage.location import Location
from lakehouse.storage.references import references
from lakehouse.tables.delta_log import log_version
from lakehouse.tables.open_table import open_table
from schemas.tables import TABLES


def current_versions(location: Location) -> dict[str, int]:
    """Delta version of each table that exists. Consistent if no ledger writes meanwhile. Blocks."""
    found = {}
    for table in TABLES:
        if numbers := [number for _, number in _log(location, table.name)]:
            found[table.name] = max(numbers)
    return found


def table_paths(location: Location, versions: Mapping[str, int]) -> Iterator[str]:
    """Paths under the storage root of all files that are needed to read tables at ``versions``. Blocks."""
    for name, version in versions.items():
        folder = f"tables/{name}"
        handle = open_table(location.table_uri(name), version=version)
        yield from (f"{folder}/{unquote(path)}" for path in pl.DataFrame(handle.get_add_actions())["path"])
        yield from (path for path, number in _log(location, name) if number <= version)


def object_paths(location: Location, versions: Mapping[str, int]) -> list[str]:
    """Paths under the storage root of all objects that rows at ``versions`` name. Blocks."""

    def scan(name: str) -> pl.LazyFrame | None:
        return pl.scan_delta(location.table_uri(name), version=versions[name]) if name in versions else None

    return [f"objects/{key}" for key in references(scan)["key"].unique().sort()]


def _log(location: Location, name: str) -> Iterator[tuple[str, int]]:
    """(path under the storage root, version) of the log entries and checkpoints of a table."""
    for batch in obstore.list(location.store(), f"tables/{name}/_delta_log"):
        for meta in batch:
            number = log_version(meta["path"])
            if number is not None:
                yield meta["path"], number
