"""Retention of events: how a job came to its end is forgotten some time after its end is in ``transcriptions``.

All events of a job go together, or none: a ledger that starts looks for jobs without a final event. The job of the highest
id and the job of the last event stay, for ids and event numbers go on from them.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection

import polars as pl
from obstore.store import ObjectStore

from lakehouse.maintenance.files import DataFile, Exchange, NewFile, data_files, run_path, scan_files, write_file
from schemas.tables import JOB_EVENTS

_FINAL = ("completed", "failed", "cancelled", "deleted")


def forget_events(
    uri: str, store: ObjectStore, before: dt.datetime, projected: int, live: Collection[int]
) -> tuple[int, Exchange | None]:
    """(events forgotten, the exchange that forgets them) of jobs that ended before ``before``. Blocks.

    ``projected``: events up to this ``seq`` are in their tables. ``live``: ids of jobs that memory holds; they stay.
    """
    files = data_files(uri, JOB_EVENTS)
    # A job's events all have its ``created_at``, and it ended no sooner than it was created.
    old = [file for file in files if file.low["created_at"] is not None and file.low["created_at"] < before]
    if not old:
        return 0, None
    every = scan_files(uri, files, JOB_EVENTS)
    last = every.select(pl.col("id").max(), pl.col("id").sort_by("seq").last().alias("newest")).collect().row(0)
    forgettable = (
        scan_files(uri, old, JOB_EVENTS)
        .group_by("id")
        .agg(pl.col("seq").max(), pl.col("updated_at").max(), pl.col("status").is_in(list(_FINAL)).any().alias("ended"))
        .filter(pl.col("ended"), pl.col("seq") <= projected, pl.col("updated_at") < before)
        .filter(~pl.col("id").is_in([*live, *last]))
        .select("id")
        .collect()
    )
    out: list[DataFile] = []
    into: list[NewFile] = []
    run, forgotten = uuid.uuid4().hex, 0
    for file in old if forgettable.height else []:
        rows = scan_files(uri, [file], JOB_EVENTS).collect()
        kept = rows.join(forgettable, on="id", how="anti", maintain_order="left").sort("seq")
        if kept.height == rows.height:
            continue
        forgotten += rows.height - kept.height
        out.append(file)
        if kept.height:
            into.append(write_file(store, run_path(run, len(into)), kept, JOB_EVENTS))
    return forgotten, Exchange(out, into, data_change=True) if out else None
