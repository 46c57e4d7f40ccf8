"""A table as its writer found it, from which a ledger rebuilds its memory.

A ledger that takes over on another machine reads all tables, and a bucket answers each request late. So a table's log is
read once for its writer and all of its readers. Small files, which commits write, are read once and whole.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import obstore
import polars as pl
from deltalake import DeltaTable
from obstore.store import ObjectStore

from lakehouse.tables.file_replacement import polars_schema
from schemas.tables import Table

_SMALL_BYTES: Final = 256 * 1024
"""About the size up to which one request for a whole file takes less time than two, for its footer and some columns."""
_AT_ONCE: Final = 16


class OpenedTable:
    """Rows of one version. Methods block; several threads may use them."""

    def __init__(self, handle: DeltaTable, version: int, table: Table, bucket: ObjectStore | None) -> None:
        """``version``: the newest version that has the rows of ``handle``; later ones may be fences.

        ``bucket``: the table's folder in a bucket; None for a folder of the file system.
        """
        self.version = version
        self._handle = handle
        self._table = table
        self._bucket = bucket
        self._lock = threading.Lock()
        self._rows: pl.LazyFrame | None = None

    def rows(self) -> pl.LazyFrame:
        """All rows."""
        with self._lock:
            if self._rows is None:
                self._rows = pl.scan_delta(self._handle) if self._bucket is None else self._scan(self._bucket)
            return self._rows

    def highest(self, columns: Sequence[str]) -> dict[str, Any] | None:
        """The greatest value of each of ``columns``, None in an empty table, by the statistics of files.

        None if a file has no statistics of them.
        """
        files = pl.DataFrame(self._handle.get_add_actions(flatten=True))
        if files.is_empty():
            return dict.fromkeys(columns)
        names = {column: f"max.{column}" for column in columns}
        if not all(name in files.columns and files[name].null_count() == 0 for name in names.values()):
            return None
        return {column: files[name].max() for column, name in names.items()}

    def _scan(self, bucket: ObjectStore) -> pl.LazyFrame:
        files = pl.DataFrame(self._handle.get_add_actions(flatten=True))
        small = files.filter(pl.col("size_bytes") <= _SMALL_BYTES)["path"].to_list()
        root = self._handle.table_uri.rstrip("/")
        large = [f"{root}/{path}" for path in files.filter(pl.col("size_bytes") > _SMALL_BYTES)["path"]]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="small-files") as threads:
            read = list(threads.map(lambda path: io.BytesIO(bytes(obstore.get(bucket, path).bytes())), small))
        schema = polars_schema(self._table)

        def scan(sources: Any) -> pl.LazyFrame:
            return pl.scan_parquet(sources, schema=schema, glob=False, missing_columns="insert", extra_columns="ignore")

        parts = [scan(sources) for sources in (read, large) if sources]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=schema)
