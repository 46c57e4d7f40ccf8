"""Retention of job events: they are removed some time after the end of their job is in ``transcriptions``.

All events of a job are removed together, because a ledger that is opened takes a job without a final event for
unfinished. The job with the highest id and the job of the last event stay, because ids and event numbers continue from
them.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection

import polars as pl
from obstore.store import ObjectStore

from lakehouse.tables.file_replacement import (
    DataFile,
    FileReplacement,
    NewFile,
    newest_files,
    run_path,
    scan_files,
    write_file,
)
from schemas.tables import JOB_EVENTS

_FINAL = ("completed", "failed", "cancelled", "deleted")


def expire_events(
    uri: str, store: ObjectStore, before: dt.datetime, projected: int, live: Collection[int]
) -> tuple[int, FileReplacement | None]:
    """(number of events to remove, the replacement that removes them) of jobs that ended before ``before``. Blocks.

    ``projected``: events up to this ``seq`` are in their tables. ``live``: ids of jobs in memory, whose events stay.
    """
    version, files = newest_files(uri, JOB_EVENTS)
    # All events of a job have the job's ``created_at``, and the job does not end before that time.
    old = [file for file in files if file.low["created_at"] is not None and file.low["created_at"] < before]
    if not old:
        return 0, None
    every = scan_files(uri, files, JOB_EVENTS)
    last = every.select(pl.col("id").max(), pl.col("id").sort_by("seq").last().alias("newest")).collect().row(0)
    expired = (
        scan_files(uri, old, JOB_EVENTS)
        .group_by("id")
        .agg(pl.col("seq").max(), pl.col("updated_at").max(), pl.col("status").is_in(list(_FINAL)).any().alias("ended"))
        .filter(pl.col("ended"), pl.col("seq") <= projected, pl.col("updated_at") < before)
        .filter(~pl.col("id").is_in([*live, *last]))
        .select("id")
        .collect()
    )
    removed: list[DataFile] = []
    added: list[NewFile] = []
    run, removed_rows = uuid.uuid4().hex, 0
    for file in old if expired.height else []:
        rows = scan_files(uri, [file], JOB_EVENTS).collect()
        remaining = rows.join(expired, on="id", how="anti", maintain_order="left").sort("seq")
        if remaining.height == rows.height:
            continue
        removed_rows += rows.height - remaining.height
        removed.append(file)
        if remaining.height:
            added.append(write_file(store, run_path(run, len(added)), remaining, JOB_EVENTS))
    return removed_rows, FileReplacement(removed, added, data_change=True, version=version) if removed else None
