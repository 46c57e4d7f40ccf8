"""Finds the objects that rows name, which must exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from lakehouse.storage.result_objects import written_keys

Scan = Callable[[str], pl.LazyFrame | None]
"""A table by name; None for one that does not exist."""

_NAMING: Final = {
    "transcriptions": ("audio_key", "result_key", "playback_key"),
    "tts_renders": ("audio_key",),
    "conversations": ("audio_key",),
    "voices": ("reference_key", "consent_key"),
    "voice_consents": ("recording_key",),
    "speakers": ("reference_key", "consent_key"),
}


def references(scan: Scan) -> pl.DataFrame:
    """Columns key, table and row (the id as a string): every object that a current row names, including result views.

    The current row of a job, a voice or a consent is its last state, unless it is deleted. Blocks.
    """
    frames = [frame for frame in _named(scan) if frame.height]
    if not frames:
        return pl.DataFrame(schema={"key": pl.String, "table": pl.String, "row": pl.String})
    found = pl.concat(frames)
    is_result = pl.col("key").str.starts_with("results/")
    views = found.filter(is_result).with_columns(
        pl.col("key").map_elements(lambda key: list(written_keys(key)), return_dtype=pl.List(pl.String))
    )
    return pl.concat([found.filter(~is_result), views.explode("key")]).unique(maintain_order=True)


def _named(scan: Scan) -> Iterator[pl.DataFrame]:
    for name, columns in _NAMING.items():
        rows = scan(name)
        if rows is not None:
            if name in ("voices", "voice_consents", "speakers"):
                has_seq = "seq" in rows.collect_schema()
                moment = pl.col("seq") if has_seq else pl.coalesce("deleted_at", "created_at")
                rows = (
                    rows.sort(moment).unique("id", keep="last", maintain_order=True).filter(pl.col("deleted_at").is_null())
                )
            yield from _keys(rows, name, columns)
    events = scan("job_events")
    if events is not None:
        last = events.sort("seq").unique("id", keep="last", maintain_order=True).filter(pl.col("status") != "deleted")
        yield from _keys(last, "job_events", _NAMING["transcriptions"])


def _keys(rows: pl.LazyFrame, table: str, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    for column in columns:
        key = pl.col(column).alias("key")
        named = rows.filter(pl.col(column).is_not_null(), pl.col(column) != "")
        yield named.select(key, pl.lit(table).alias("table"), pl.col("id").cast(pl.String).alias("row")).collect()
