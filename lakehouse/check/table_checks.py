"""Compares tables with their files, and rows with each other. All functions block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import obstore
import polars as pl

from lakehouse.check.findings import Finding, Kind
from lakehouse.search import lexemes
from lakehouse.storage.location import Location
from lakehouse.tables.index_specs import INDEX_SPECS
from lakehouse.tables.open_table import open_table

_UNIQUE: Final = {
    **{name: spec.identity for name, spec in INDEX_SPECS.items() if spec.unique and not spec.revised},
    "transcriptions": ("id", "revision"),
    "segments": ("id", "revision", "position"),
    "conversations": ("id", "revision"),
    "job_events": ("seq",),
    "audit_events": ("id",),
}
_SHOWN: Final = 20
"""Number of rows that are named individually. Further rows are only counted."""


def check_files(location: Location, versions: Mapping[str, int]) -> Iterator[Finding]:
    """Data files of the tables that are missing, have another size than the log says, or cannot be read to the end."""
    for name, version in versions.items():
        store = location.store(f"tables/{name}")
        try:
            handle = open_table(location.table_uri(name), version=version)
            actions = pl.DataFrame(handle.get_add_actions())
        except Exception as error:  # a damaged log may raise any error
            yield Finding(Kind.UNREADABLE_TABLE, name, f"its log cannot be read: {type(error).__name__}")
            continue
        for path, size, rows in actions.select("path", "size_bytes", "num_records").iter_rows():
            yield from _check_file(store, name, unquote(path), size, rows)


def check_rows(scans: Mapping[str, pl.LazyFrame]) -> Iterator[Finding]:
    """Rows that exist more than once, and rows that belong to no other row."""
    for name, identity in _UNIQUE.items():
        if name in scans:
            repeated = scans[name].group_by(identity).len().filter(pl.col("len") > 1).collect()
            yield from _shown(Kind.REPEATED_ROW, name, repeated.select(identity), "exists more than once")
    for name in ("turns", "tool_calls"):
        if name in scans and "conversations" in scans:
            alone = (
                scans[name].join(scans["conversations"], on=["account", "session_id"], how="anti").select("id").collect()
            )
            yield from _shown(Kind.ROW_WITHOUT_OWNER, name, alone, "belongs to no conversation")


def check_projection(scans: Mapping[str, pl.LazyFrame], projected_seq: int) -> Iterator[Finding]:
    """Finished jobs up to ``projected_seq`` that are not in ``transcriptions`` in their last state with their
    segments.
    """
    events, transcriptions = scans["job_events"], scans["transcriptions"]
    final = ("completed", "failed", "cancelled")
    last = events.sort("seq").unique("id", keep="last", maintain_order=True)
    done = last.filter(pl.col("status").is_in(final), pl.col("seq") <= projected_seq)
    key = ["id", "status", pl.col("revision").fill_null(0)]
    missing = done.select(key).join(transcriptions.select(key), on=["id", "status", "revision"], how="anti")
    yield from _shown(
        Kind.UNPROJECTED_JOB, "job_events", missing.select("id").collect(), "is finished and missing in transcriptions"
    )
    # The segments of a job are written shortly before its row.
    yield from _check_segments(transcriptions, scans["segments"], events.filter(pl.col("seq") > projected_seq))


def check_leases(events: pl.LazyFrame) -> Iterator[Finding]:
    """Processing jobs, by ``job_events``, without an attempt or without a lease of their own."""
    last = events.sort("seq").unique("id", keep="last", maintain_order=True)
    at_work = last.filter(pl.col("status") == "processing").select("id", "worker", "attempt").collect()
    wrong = at_work.filter(pl.col("worker").is_null() | (pl.col("attempt") < 1) | pl.col("worker").is_duplicated())
    yield from _shown(Kind.WRONG_LEASE, "job_events", wrong.select("id"), "is being processed without a lease of its own")


def check_lexemes(scans: Mapping[str, pl.LazyFrame], every: int) -> Iterator[Finding]:
    """Rows whose lexemes for search differ from those of their text. One row in ``every`` is checked."""
    for name in ("segments", "turns", "tts_renders"):
        if name not in scans:
            continue
        rows = scans[name].select("id", "text", "lexemes").gather_every(every).collect()
        wrong = rows.filter(rows["lexemes"] != pl.Series([lexemes(text) for text in rows["text"]], dtype=pl.String))
        yield from _shown(Kind.WRONG_LEXEMES, name, wrong.select("id"), "has other lexemes than its text")


def _check_file(store: obstore.store.ObjectStore, name: str, path: str, size: int, rows: int | None) -> Iterator[Finding]:
    where = f"tables/{name}/{path}"
    try:
        content = bytes(obstore.get(store, path).bytes())
        if len(content) != size:
            yield Finding(Kind.DAMAGED_FILE, where, f"it has {len(content)} bytes instead of {size}")
            return
        found = pl.read_parquet(content, use_pyarrow=False).height
    except FileNotFoundError:
        yield Finding(Kind.MISSING_FILE, where, "it does not exist; restore a backup")
    except Exception as error:  # a damaged file may raise any error
        yield Finding(Kind.DAMAGED_FILE, where, f"it cannot be read ({type(error).__name__}); restore a backup")
    else:
        if rows is not None and found != rows:
            yield Finding(Kind.DAMAGED_FILE, where, f"it has {found} rows instead of {rows}")


def _check_segments(transcriptions: pl.LazyFrame, segments: pl.LazyFrame, unprojected: pl.LazyFrame) -> Iterator[Finding]:
    key = ["id", "revision"]
    counted = segments.group_by(key).len()
    alone = counted.join(transcriptions, on=key, how="anti").join(unprojected, on="id", how="anti").select(key)
    yield from _shown(Kind.ROW_WITHOUT_OWNER, "segments", alone.collect(), "belongs to no transcription")
    done = transcriptions.filter(pl.col("status") == "completed", pl.col("num_segments").is_not_null())
    joined = done.join(counted, on=key, how="left").with_columns(pl.col("len").fill_null(0))
    wrong = joined.filter(pl.col("len") != pl.col("num_segments")).select(key).collect()
    yield from _shown(Kind.WRONG_COUNT, "transcriptions", wrong, "has another number of segments than its row says")


def _shown(kind: Kind, table: str, rows: pl.DataFrame, sentence: str) -> Iterator[Finding]:
    for row in rows.head(_SHOWN).rows():
        yield Finding(kind, f"{table} {', '.join(map(str, row))}", sentence)
    if rows.height > _SHOWN:
        yield Finding(kind, table, f"{rows.height - _SHOWN} more rows: each {sentence}")
