"""Rows of tables, of which a test gives only the columns that matter to it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

BEGAN = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
"""The time in columns that a test does not give."""


def blank_row(schema: pa.Schema) -> dict[str, Any]:
    """A row with null where that is allowed, else with an empty value, zero, or `BEGAN`."""

    def value(kind: pa.DataType) -> Any:
        if pa.types.is_string(kind):
            return ""
        if pa.types.is_timestamp(kind):
            return BEGAN
        return [] if pa.types.is_list(kind) else False if pa.types.is_boolean(kind) else 0

    return {field.name: None if field.nullable else value(field.type) for field in schema}
