"""Reading archive runs from their tables: files by page, reports, and transcriptions to select for reprocessing.

Each call opens the newest version of a table, so it sees everything acknowledged before. Methods block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import polars as pl

from lakehouse import sql
from lakehouse.storage.location import Location
from lakehouse.tables.archive_row_mapping import file_from_row
from lakehouse.tables.open_table import open_table
from lakehouse.tables.row_mapping import Row, job_from_row
from lakehouse.tables.table_reader import newest
from schemas.archives import Archive, ArchiveFile, ArchiveReport, FailureGroup, FileStatus, Selected
from schemas.domain import Job, Seconds
from schemas.times import now

_ITEM = ["archive_id", "item"]


class ArchiveReader:
    """Reads for one process, safe beside the ledger's writes and maintenance."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def files(
        self, archive_id: int, *, status: FileStatus | None = None, after: str | None = None, limit: int
    ) -> list[ArchiveFile]:
        """At most ``limit`` files of a run in their last state, by key, after the key ``after``."""
        mine = pl.col("archive_id") == archive_id
        wanted = mine if after is None else mine & (pl.col("item") > after)
        found = self._collect("archive_files", lambda table: _latest(table.filter(wanted)))
        chosen = found if status is None else found.filter(pl.col("status") == status.value)
        return [file_from_row(row) for row in chosen.sort("item").head(limit).iter_rows(named=True)]

    def report(self, archive: Archive) -> ArchiveReport:
        """Numbers of a run. ``archive`` is the run from the ledger."""
        columns = ("archive_id", "item", "seq", "status", "updated_at", "reason", "message", "audio_secs", "cached")
        mine = pl.col("archive_id") == archive.id
        rows = self._collect("archive_files", lambda table: table.filter(mine).select(columns)).sort("item", "seq")
        active_secs = _active_secs(rows)
        files = rows.unique(_ITEM, keep="last", maintain_order=True)
        recognized = files.filter(pl.col("status") == FileStatus.COMPLETED.value, ~pl.col("cached"))["audio_secs"]
        audio_secs = float(recognized.fill_null(0.0).sum())
        return ArchiveReport(
            archive=archive,
            active_secs=round(active_secs, 3),
            x_realtime=round(audio_secs / active_secs, 3) if audio_secs and active_secs else None,
            failures=tuple(_failures(files)),
        )

    def select(
        self, where: str, account: str | None, *, made_by_others_than: str | None, after: int, limit: int
    ) -> list[Selected]:
        """At most ``limit`` completed transcriptions with a stored recording for which an SQL condition holds, by id.

        ``made_by_others_than``: leave out results of this engine revision. ``after``: only higher ids. Raises
        InvalidParameter(param="where").
        """

        def query(table: pl.LazyFrame) -> pl.LazyFrame:
            whole = newest(table).filter(pl.col("status") == "completed", pl.col("audio_key") != "")
            mine = whole if account is None else whole.filter(pl.col("account") == account)
            found = sql.where("transcriptions", mine, where).filter(pl.col("id") > after)
            if made_by_others_than is not None:
                found = found.filter(pl.col("engine_revision").ne_missing(made_by_others_than))
            return found.sort("id").head(limit)

        with sql.refusals("where"):
            rows = self._collect("transcriptions", query)
        return [_selected(row) for row in rows.iter_rows(named=True)]

    def revisions(self, ids: Collection[int]) -> dict[tuple[int, int], Job]:
        """Every stored revision of transcriptions, by (id, revision)."""
        rows = self._collect("transcriptions", lambda table: table.filter(pl.col("id").is_in(list(ids))))
        return {(row["id"], row["revision"]): job_from_row(row) for row in rows.iter_rows(named=True)}

    def _collect(self, name: str, query: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """Run a query, and once more if a file was merged and vacuumed since the table was opened."""
        uri = self._location.table_uri(name)
        try:
            return query(pl.scan_delta(open_table(uri))).collect()
        except FileNotFoundError:
            return query(pl.scan_delta(open_table(uri))).collect()


def _latest(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort("seq").unique(_ITEM, keep="last", maintain_order=True)


def _active_secs(rows: pl.DataFrame) -> Seconds:
    """Time in which at least one file was processed, from all changes ordered by (item, seq)."""
    begun = pl.col("status") == FileStatus.PROCESSING.value
    ended = pl.col("updated_at").shift(-1).over("item")
    spans = rows.select("updated_at", end=ended, begun=begun).filter("begun").sort("updated_at")
    if not spans.height:
        return 0.0
    starts = spans["updated_at"].to_physical().to_numpy()
    ends = spans["end"].fill_null(now()).to_physical().to_numpy()
    # If a file begins after all earlier ones have ended, nothing was processed in between.
    reach = np.maximum.accumulate(ends)
    gaps = np.maximum(starts[1:] - reach[:-1], 0)
    return float(reach[-1] - starts[0] - gaps.sum()) / 1e6


def _failures(files: pl.DataFrame) -> list[FailureGroup]:
    """Failed and skipped files by reason, most frequent reason first."""
    failed = files.filter(pl.col("status").is_in([FileStatus.FAILED.value, FileStatus.SKIPPED.value]))
    groups = failed.group_by("status", "reason", maintain_order=True).agg(
        pl.len().alias("count"), pl.first("item"), pl.first("message")
    )
    return [
        FailureGroup(FileStatus(row["status"]), row["reason"] or "", row["count"], row["item"], row["message"] or "")
        for row in groups.sort("count", descending=True, maintain_order=True).iter_rows(named=True)
    ]


def _selected(row: Row) -> Selected:
    job = job_from_row(row)
    return Selected(
        id=job.id,
        account=job.account,
        filename=job.filename,
        sha256=job.sha256,
        size_bytes=job.size_bytes,
        audio_key=job.audio_key,
        options=job.options,
        engine_revision=job.engine_revision or "",
        audio_secs=job.audio_duration_secs or 0.0,
        revision=job.revision,
    )
