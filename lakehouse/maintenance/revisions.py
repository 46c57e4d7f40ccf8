"""Retention of revisions: superseded revisions of a transcription are kept for comparison for some time.

The newest revision always stays. No row names the result objects of removed revisions any more, so they are removed as
orphans.
"""

from __future__ import annotations

import datetime as dt
import uuid

import polars as pl
from obstore.store import ObjectStore

from lakehouse.tables.file_replacement import (
    DataFile,
    FileReplacement,
    NewFile,
    data_files,
    newest_files,
    run_path,
    scan_files,
    write_file,
)
from schemas.tables import TRANSCRIPTIONS, Table


def superseded(uri: str, before: dt.datetime) -> pl.DataFrame:
    """Columns id and newest: transcriptions at ``uri`` whose revision ``newest`` superseded all below it before ``before``.

    Blocks.
    """
    files = data_files(uri, TRANSCRIPTIONS)
    if not files:
        return pl.DataFrame(schema={"id": pl.Int64, "newest": pl.Int32})
    again = scan_files(uri, files, TRANSCRIPTIONS).filter(pl.col("revision") > 0, pl.col("updated_at") < before)
    return again.group_by("id").agg(pl.max("revision").alias("newest")).collect()


def expire_revisions(uri: str, store: ObjectStore, table: Table, gone: pl.DataFrame) -> tuple[int, FileReplacement | None]:
    """(number of rows to remove, the replacement that removes them) of ``table``, which has columns id and revision.

    ``gone`` is the result of `superseded`. Blocks.
    """
    if not gone.height:
        return 0, None
    removed: list[DataFile] = []
    added: list[NewFile] = []
    removed_rows = 0
    version, files = newest_files(uri, table)
    for file in _touched(files, gone["id"]):
        keys = scan_files(uri, [file], table).select("id", "revision").collect()
        if not _old(keys, gone).any():
            continue
        rows = scan_files(uri, [file], table).collect()
        remaining = rows.filter(~_old(rows, gone))
        removed_rows += rows.height - remaining.height
        removed.append(file)
        if remaining.height:
            added.append(write_file(store, run_path(uuid.uuid4().hex, 0), remaining, table))
    return removed_rows, FileReplacement(removed, added, data_change=True, version=version) if removed else None


def _touched(files: list[DataFile], ids: pl.Series) -> list[DataFile]:
    """Files whose bounds include one of ``ids``."""
    ordered = ids.sort()

    def holds_some(file: DataFile) -> bool:
        low, high = file.low["id"], file.high["id"]
        return low is None or high is None or int(ordered.search_sorted(low)) < int(ordered.search_sorted(high, "right"))

    return [file for file in files if holds_some(file)]


def _old(rows: pl.DataFrame, gone: pl.DataFrame) -> pl.Series:
    newest = rows.join(gone, on="id", how="left", maintain_order="left")["newest"]
    return (rows["revision"] < newest).fill_null(value=False)
