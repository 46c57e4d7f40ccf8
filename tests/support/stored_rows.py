"""All rows of a home's tables in one form that does not depend on how tables are stored."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from deltalake import DeltaTable

from lakehouse.storage.location import Location
from schemas.settings import Settings
from schemas.tables import TABLES


def stored_rows(settings: Settings) -> bytes:
    """JSON: rows by table, each row a list of [column, value], sorted."""
    location = Location.of(settings)
    found: dict[str, list[Any]] = {}
    for table in TABLES:
        uri = location.table_uri(table.name)
        if DeltaTable.is_deltatable(uri):
            rows = [sorted(row.items()) for row in pl.read_delta(uri).to_dicts()]
            found[table.name] = sorted(rows, key=lambda row: json.dumps(row, default=str))
    return json.dumps(found, default=str).encode()
