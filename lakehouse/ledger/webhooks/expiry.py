"""Retention of deliveries: delivered and failed ones are removed some time after their last attempt."""

from __future__ import annotations

import asyncio
import datetime as dt

import polars as pl

from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.table_reader import TableReader


async def expire_deliveries(writer: TableWriter, before: dt.datetime) -> int:
    """Remove the rows of deliveries whose last state is older than ``before``; returns the number of deliveries.

    Pending ones stay, however old, because a webhook may be disabled for long. Raises Unavailable.
    """
    states = await asyncio.to_thread(
        TableReader(writer.uri).collect,
        lambda table: table.select("seq", "id", "updated_at", "status"),
        writer.version,
    )
    # Rows are numbered in the order of their writing, so all up to this one are old.
    young = states.filter(pl.col("updated_at") >= before)["seq"].min()
    old = states if young is None else states.filter(pl.col("seq") < young)
    newest = states.sort("seq").unique("id", keep="last")
    pending = newest.filter(pl.col("status") == "pending")["id"]
    expired = old.filter(~pl.col("id").is_in(pending.implode()))
    if expired.is_empty():
        return 0
    waiting = old.filter(pl.col("id").is_in(pending.implode()))["id"].unique().to_list()
    last = int(expired.select(pl.max("seq")).item())
    spared = f" AND id NOT IN ({', '.join(repr(one) for one in waiting)})" if waiting else ""
    # A delivery that is replayed meanwhile has a newer row, which is not removed.
    await writer.delete(f"seq <= {last}{spared}")
    return int(newest.filter(pl.col("id").is_in(expired["id"].implode()) & (pl.col("seq") <= last)).height)
