"""Handles data files of a table for maintenance: lists them, writes them with statistics, replaces them in one commit."""

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

from lakehouse.tables.open_table import open_table
from schemas.tables import Table

ROW_GROUP_ROWS = 4096
"""Rows of a Parquet row group in every file written here: reading one row decodes 4,096."""
_RUN_FILE = re.compile(r"run-([0-9a-f]{32})-\d{5}\.parquet")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a table's newest version. ``low`` and ``high``: least and greatest value of each column with statistics."""

    path: str
    size_bytes: int
    num_rows: int
    low: dict[str, Any]
    high: dict[str, Any]

    @property
    def run(self) -> str | None:
        """Name of the file's sorted run; None for a file that a commit wrote."""
        found = _RUN_FILE.fullmatch(self.path)
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is written but not yet committed.

    ``stats``: its statistics as JSON (Delta protocol, "Per-file Statistics").
    """

    path: str
    size_bytes: int
    num_rows: int
    stats: str


@dataclass(frozen=True, slots=True)
class FileReplacement:
    """Files to remove from a table and files to add. ``data_change`` is false if the rows are the same.

    ``version``: of the table in which the files to remove were seen.
    """

    removed: Sequence[DataFile]
    added: Sequence[NewFile]
    data_change: bool
    version: int


def newest_files(uri: str, table: Table) -> tuple[int, list[DataFile]]:
    """(the newest version, its files in the order of Delta's log). Blocks."""
    handle = open_table(uri)
    return handle.version(), files_of(handle, table)


def data_files(uri: str, table: Table) -> list[DataFile]:
    """The files of the newest version, in the order of Delta's log. Blocks."""
    return newest_files(uri, table)[1]


def files_of(handle: DeltaTable, table: Table) -> list[DataFile]:
    """The files of the version that ``handle`` has, in the order of Delta's log."""
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))

    def bounds(row: dict[str, Any], end: str) -> dict[str, Any]:
        return {column: row.get(f"{end}.{column}") for column in table.stats}

    return [
        DataFile(row["path"], row["size_bytes"], row["num_records"] or 0, bounds(row, "min"), bounds(row, "max"))
        for row in actions.iter_rows(named=True)
    ]


def run_path(run: str, number: int) -> str:
    """Path of file ``number`` of a sorted run, whose name is 32 hex digits."""
    return f"run-{run}-{number:05}.parquet"


def scan_files(uri: str, files: Sequence[DataFile], table: Table) -> pl.LazyFrame:
    """Lazy rows of ``files``, at least one; columns that were added after a file was written are null in it."""
    return pl.scan_parquet(
        [f"{uri}/{file.path}" for file in files],
        schema=polars_schema(table),
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
    )


def polars_schema(table: Table) -> pl.Schema:
    """The schema of a table in Polars' types."""
    frame = pl.from_arrow(table.schema.empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table it always is
    return frame.schema


def write_file(store: ObjectStore, path: str, frame: pl.DataFrame, table: Table) -> NewFile:
    """Write rows as one file into ``store``, the table's folder. The commit flushes it to disk. Blocks.

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
    # Column by column, because a query over the frame takes ten times as long for one row.
    columns = {name: frame[name] for name in table.stats}
    return {
        "numRecords": frame.height,
        "minValues": {name: _json_value(column.min()) for name, column in columns.items()},
        "maxValues": {name: _json_value(column.max()) for name, column in columns.items()},
        "nullCount": {name: column.null_count() for name, column in columns.items()},
    }


def _json_value(value: Any) -> Any:
    """A value in the form of Delta's statistics; times are UTC."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z" if isinstance(value, dt.datetime) else value
