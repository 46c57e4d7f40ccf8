"""Retention of revisions: what a transcription was before it was made again is kept for comparison, for some time.

The newest revision always stays. Result objects of forgotten ones are named by no row from then on, and go as orphans.
"""

from __future__ import annotations

import datetime as dt
import uuid

import polars as pl
from obstore.store import ObjectStore

from lakehouse.maintenance.files import DataFile, Exchange, NewFile, data_files, run_path, scan_files, write_file
from schemas.tables import TRANSCRIPTIONS, Table


def superseded(uri: str, before: dt.datetime) -> pl.DataFrame:
    """Columns id and newest, of ``transcriptions`` at ``uri``: ``newest`` took the place of those below it. Blocks.

    Only what was superseded before ``before`` is there.
    """
    files = data_files(uri, TRANSCRIPTIONS)
    if not files:
        return pl.DataFrame(schema={"id": pl.Int64, "newest": pl.Int32})
    again = scan_files(uri, files, TRANSCRIPTIONS).filter(pl.col("revision") > 0, pl.col("updated_at") < before)
    return again.group_by("id").agg(pl.max("revision").alias("newest")).collect()


def forget_revisions(uri: str, store: ObjectStore, table: Table, gone: pl.DataFrame) -> tuple[int, Exchange | None]:
    """(rows forgotten, the exchange that forgets them) of ``table``, which has columns id and revision. Blocks.

    ``gone`` as `superseded` gives it.
    """
    if not gone.height:
        return 0, None
    out: list[DataFile] = []
    into: list[NewFile] = []
    forgotten = 0
    for file in _touched(data_files(uri, table), gone["id"]):
        keys = scan_files(uri, [file], table).select("id", "revision").collect()
        if not _old(keys, gone).any():
            continue
        rows = scan_files(uri, [file], table).collect()
        kept = rows.filter(~_old(rows, gone))
        forgotten += rows.height - kept.height
        out.append(file)
        if kept.height:
            into.append(write_file(store, run_path(uuid.uuid4().hex, 0), kept, table))
    return forgotten, Exchange(out, into, data_change=True) if out else None


def _touched(files: list[DataFile], ids: pl.Series) -> list[DataFile]:
    """Files whose bounds take in one of ``ids``."""
    ordered = ids.sort()

    def holds_some(file: DataFile) -> bool:
        low, high = file.low["id"], file.high["id"]
        return low is None or high is None or int(ordered.search_sorted(low)) < int(ordered.search_sorted(high, "right"))

    return [file for file in files if holds_some(file)]


def _old(rows: pl.DataFrame, gone: pl.DataFrame) -> pl.Series:
    newest = rows.join(gone, on="id", how="left", maintain_order="left")["newest"]
    return (rows["revision"] < newest).fill_null(value=False)
