"""Data files of a table as maintenance handles them: listed, written with their statistics, exchanged in one commit."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import obstore
import polars as pl
from deltalake import DeltaTable
from obstore.store import ObjectStore

from schemas.tables import Table

ROW_GROUP_ROWS = 4096
_RUN_FILE = re.compile(r"run-([0-9a-f]{32})-\d{5}\.parquet")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a table's current version. ``low`` and ``high`` bound its values in the columns with statistics."""

    path: str
    size_bytes: int
    num_rows: int
    low: dict[str, Any]
    high: dict[str, Any]

    @property
    def run(self) -> str | None:
        """The sorted run it is a piece of; None for a file as commits leave it."""
        found = _RUN_FILE.fullmatch(self.path)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is written and not yet committed; ``stats`` as Delta's log keeps them, JSON."""

    path: str
    size_bytes: int
    num_rows: int
    stats: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """Files to take out of a table and files to put in. ``data_change`` is false when the rows are the same ones."""

    out: Sequence[DataFile]
    into: Sequence[NewFile]
    data_change: bool


def data_files(uri: str, table: Table) -> list[DataFile]:
    """The files of the newest version, in the order Delta names them."""
    actions = pl.DataFrame(DeltaTable(uri).get_add_actions(flatten=True))

    def bounds(row: dict[str, Any], end: str) -> dict[str, Any]:
        return {column: row.get(f"{end}.{column}") for column in table.stats}

    return [
        DataFile(row["path"], row["size_bytes"], row["num_records"] or 0, bounds(row, "min"), bounds(row, "max"))
        for row in actions.iter_rows(named=True)
    ]


def run_path(run: str, number: int) -> str:
    return f"run-{run}-{number:05}.parquet"


def scan_files(uri: str, files: Sequence[DataFile], table: Table) -> pl.LazyFrame:
    """Lazy rows of ``files`` (not none); columns that came later than a file are null in it."""
    return pl.scan_parquet(
        [f"{uri}/{file.path}" for file in files],
        schema=polars_schema(table),
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
    )


def polars_schema(table: Table) -> pl.Schema:
    frame = pl.from_arrow(table.schema.empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it always is
    return frame.schema


def write_file(store: ObjectStore, path: str, frame: pl.DataFrame, table: Table) -> NewFile:
    """Write rows as one file of a table, ``store`` being the table's folder. Its flush is part of the commit. Blocks.

    Raises ValueError for a null in a column that allows none.
    """
    empty = [column.name for column in table.schema if not column.nullable and frame[column.name].null_count()]
    if empty:
        raise ValueError(f"the table {table.name} allows no null in: {', '.join(empty)}")
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_ROWS, statistics=True)
    data = buffer.getvalue()
    obstore.put(store, path, data)
    return NewFile(path, len(data), frame.height, json.dumps(_stats(frame, table)))


def _stats(frame: pl.DataFrame, table: Table) -> dict[str, Any]:
    # Column by column: a query over the frame takes ten times as long for one row.
    columns = {name: frame[name] for name in table.stats}
    return {
        "numRecords": frame.height,
        "minValues": {name: _shown(column.min()) for name, column in columns.items()},
        "maxValues": {name: _shown(column.max()) for name, column in columns.items()},
        "nullCount": {name: column.null_count() for name, column in columns.items()},
    }


def _shown(value: Any) -> Any:
    """As Delta's statistics have it; our moments are UTC."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z" if isinstance(value, dt.datetime) else value
