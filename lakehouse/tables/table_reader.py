"""Reads tables with Polars.

A handle is opened only for reading and never updated, so scans on several threads may share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import polars as pl
from deltalake import DeltaTable

from lakehouse.tables.open_table import open_table
from lakehouse.tables.opened_table import OpenedTable
from lakehouse.tables.row_mapping import OPTION_COLUMNS, job_from_row
from schemas.domain import Job

Query = Callable[[pl.LazyFrame], pl.LazyFrame]


def newest(transcriptions: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of ``transcriptions`` with the highest revision of each id."""
    revised = transcriptions.filter(pl.col("revision") > 0).group_by("id").agg(pl.max("revision").alias("newest"))
    joined = transcriptions.join(revised, on="id", how="left")
    return joined.filter(pl.col("revision") == pl.col("newest").fill_null(0)).drop("newest")


class TableReader:
    """Reads one table. Methods block; call them on a thread."""

    def __init__(self, uri: str, opened: Callable[[], OpenedTable | None] = lambda: None) -> None:
        """``opened`` returns the table as its writer found it; None if that is not known or no longer held."""
        self._uri = uri
        self._opened = opened
        self._handle: DeltaTable | None = None

    def collect(self, query: Query, min_version: int | None = None) -> pl.DataFrame:
        """The result of ``query`` on a snapshot of ``min_version`` or later; None for the newest.

        A snapshot opened long ago may name files that were merged and vacuumed since. In this case it is opened again,
        once.
        """
        try:
            return query(self._scan(min_version)).collect()
        except (FileNotFoundError, pl.exceptions.ComputeError):
            return query(self._scan(None)).collect()

    def highest(self, columns: Sequence[str], min_version: int) -> dict[str, Any]:
        """The greatest value of each of ``columns`` in ``min_version`` or later; None in an empty table."""
        opened = self._opened()
        found = opened.highest(columns) if opened is not None and opened.version >= min_version else None
        if found is not None:
            return found
        return self.collect(lambda table: table.select(pl.max(*columns)), min_version).to_dicts()[0]

    def _scan(self, min_version: int | None) -> pl.LazyFrame:
        opened = self._opened()
        if opened is not None and min_version is not None and opened.version >= min_version:
            return opened.rows()
        handle = self._handle
        if handle is None or min_version is None or handle.version() < min_version:
            handle = self._handle = open_table(self._uri)
        return pl.scan_delta(handle)


class TranscriptionReader:
    """Reads finished jobs from ``transcriptions``. Methods block; ``min_version`` as in `TableReader.collect`."""

    def __init__(self, reader: TableReader) -> None:
        self._reader = reader

    def job(self, job_id: int, min_version: int) -> Job | None:
        """The newest revision of a job; None if it is not in the table."""
        rows = self._latest(pl.col("id") == job_id, min_version).to_dicts()
        return job_from_row(rows[0]) if rows else None

    def cacheable(self, min_version: int) -> pl.DataFrame:
        """Columns that `ResultCache.load` takes, of all completed jobs that were not answered from the cache."""
        wanted = (pl.col("status") == "completed") & ~pl.col("cached")
        columns = ("id", "account", "sha256", "engine_revision", *OPTION_COLUMNS)
        return self._reader.collect(lambda t: t.filter(wanted).select(columns), min_version)

    def jobs(self, ids: Collection[int], min_version: int) -> dict[int, Job]:
        """The jobs of ``ids`` that are in the table, by id."""
        rows = self._latest(pl.col("id").is_in(list(ids)), min_version)
        return {row["id"]: job_from_row(row) for row in rows.iter_rows(named=True)}

    def of_archives(self, archive_ids: Collection[int], min_version: int) -> list[Job]:
        """Newest revisions that the archive runs ``archive_ids`` made."""
        rows = self._latest(pl.col("archive_id").is_in(list(archive_ids)), min_version)
        return [job_from_row(row) for row in rows.iter_rows(named=True)]

    def _latest(self, wanted: pl.Expr, min_version: int) -> pl.DataFrame:
        """Rows with the highest revision of each id, highest id first."""
        frame = self._reader.collect(lambda t: t.filter(wanted), min_version)
        return frame.sort("id", "revision", descending=True).unique("id", keep="first", maintain_order=True)


class EventReader:
    """Reads ``job_events``, to rebuild a ledger's memory and to erase jobs. Methods block."""

    def __init__(self, reader: TableReader) -> None:
        self._reader = reader

    def bounds(self, min_version: int) -> dict[str, Any]:
        """Highest ``seq`` and ``id`` and latest ``created_at``; None in an empty table."""
        return self._reader.highest(("seq", "id", "created_at"), min_version)

    def unfinished(self, min_version: int) -> list[tuple[int, Job]]:
        """(seq, job) of every job without a final event, by seq."""
        final = ~pl.col("status").is_in(["submitted", "processing"])

        def query(events: pl.LazyFrame) -> pl.LazyFrame:
            finished = events.filter(final).select("id").unique()
            return events.filter(~final).join(finished, on="id", how="anti")

        return self._jobs(query, min_version, keep="last")

    def finished_after(self, seq: int, min_version: int) -> list[tuple[int, Job]]:
        """(seq, job) of every job deleted after ``seq``, and of every revision whose first final event is later, by seq.

        Events after the first final one of a revision do not count, except a deletion.
        """
        final = ~pl.col("status").is_in(["submitted", "processing"])
        deleted = pl.col("status") == "deleted"
        revision = pl.col("revision").fill_null(0)

        def finished(events: pl.LazyFrame) -> pl.LazyFrame:
            events = events.with_columns(revision)
            gone = events.filter(deleted).select("id").unique()
            done = events.filter(final & (pl.col("seq") <= seq)).select("id", "revision").unique()
            later = events.filter(final & (pl.col("seq") > seq))
            return later.join(gone, on="id", how="anti").join(done, on=["id", "revision"], how="anti")

        gone = self._jobs(lambda events: events.filter(deleted & (pl.col("seq") > seq)), min_version, keep="last")
        return sorted([*self._jobs(finished, min_version, keep="first"), *gone], key=lambda item: item[0])

    def leases(self, ids: Collection[int], min_version: int) -> dict[int, list[str]]:
        """Every lease of the jobs ``ids`` that has an event, by id."""
        wanted = pl.col("id").is_in(list(ids)) & pl.col("worker").is_not_null()
        found = self._reader.collect(lambda t: t.filter(wanted).select("id", "worker").unique(), min_version)
        leases: dict[int, list[str]] = {}
        for job_id, lease in found.iter_rows():
            leases.setdefault(job_id, []).append(lease)
        return leases

    def _jobs(self, query: Query, min_version: int, *, keep: Literal["first", "last"]) -> list[tuple[int, Job]]:
        found = self._reader.collect(query, min_version).with_columns(pl.col("revision").fill_null(0)).sort("seq")
        rows = found.unique(["id", "revision"], keep=keep, maintain_order=True)
        return [(row["seq"], job_from_row(row)) for row in rows.sort("seq").iter_rows(named=True)]
