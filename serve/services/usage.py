"""Usage of an account, by day and kind, computed from its history."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import polars as pl

from lakehouse.history.history import History
from schemas.api.usage import Percentiles, SpokenBody, TalkedBody, TranscribedBody, UsageBody, UsageDay

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "transcriptions": ("created_at", "status", "cached", "audio_duration_secs", "processing_secs", "cost_usd"),
    "tts_renders": ("created_at", "chars", "audio_secs", "cost_usd"),
    "conversations": ("created_at", "session_id", "revision", "turn_count", "duration_secs", "cost_usd"),
    "turns": ("created_at", "first_sent_secs"),
}
_DAY: Final = pl.col("created_at").dt.date().alias("day")


class Usage:
    """The service behind `/v1/usage`."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def by_day(self, account: str, since: dt.date, until: dt.date) -> UsageBody:
        """Usage from ``since`` to ``until``, both inclusive, in UTC."""
        rows = await asyncio.gather(*(self._rows(table, account, since, until) for table in _COLUMNS))
        found = dict(zip(_COLUMNS, rows, strict=True))
        done = found["transcriptions"].filter(pl.col("status") == "completed")
        ended = found["conversations"].filter(pl.col("revision").fill_null(1) > 0)
        transcribed = _daily(done, count=pl.len(), audio_secs=_sum("audio_duration_secs"), cost_usd=_sum("cost_usd"))
        spoken = _daily(
            found["tts_renders"],
            count=pl.len(),
            chars=_sum("chars"),
            audio_secs=_sum("audio_secs"),
            cost_usd=_sum("cost_usd"),
        )
        talked = _daily(
            ended, count=pl.len(), turns=_sum("turn_count"), duration_secs=_sum("duration_secs"), cost_usd=_sum("cost_usd")
        )
        days = [since + dt.timedelta(number) for number in range((until - since).days + 1)]
        return UsageBody(
            since=since.isoformat(),
            until=until.isoformat(),
            days=[
                UsageDay(
                    day=day.isoformat(),
                    transcriptions=TranscribedBody(**transcribed.get(day, {})),
                    speech=SpokenBody(**spoken.get(day, {})),
                    conversations=TalkedBody(**talked.get(day, {})),
                )
                for day in days
            ],
            processing_per_audio_sec=_percentiles(_slowness(done)),
            answer_secs=_percentiles(found["turns"]["first_sent_secs"]),
        )

    async def _rows(self, table: str, account: str, since: dt.date, until: dt.date) -> pl.DataFrame:
        first = dt.datetime.combine(since, dt.time(), dt.UTC)
        end = dt.datetime.combine(until + dt.timedelta(1), dt.time(), dt.UTC)
        read: Callable[[Iterator[pl.DataFrame]], pl.DataFrame] = partial(_within, _COLUMNS[table], first, end)
        return await self._history.scan(table, account, read)


def _within(columns: tuple[str, ...], first: dt.datetime, end: dt.datetime, slices: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """The rows of [first, end); slices are newest first, so reading ends with the first older one."""
    found: list[pl.DataFrame] = []
    for frame in slices:
        at = pl.col("created_at")
        found.append(frame.select(columns).filter((at >= first) & (at < end)))
        if frame["created_at"][-1] < first:
            break
    return pl.concat(found) if found else pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))


def _daily(rows: pl.DataFrame, **sums: pl.Expr) -> dict[dt.date, dict[str, Any]]:
    if rows.is_empty():
        return {}
    grouped = rows.group_by(_DAY).agg(**sums).to_dicts()
    return {row.pop("day"): row for row in grouped}


def _sum(column: str) -> pl.Expr:
    return pl.col(column).sum().round(6) if column.endswith(("_secs", "_usd")) else pl.col(column).sum()


def _slowness(done: pl.DataFrame) -> pl.Series:
    measured = done.filter(~pl.col("cached").cast(pl.Boolean) & (pl.col("audio_duration_secs") > 0))
    return measured.select(pl.col("processing_secs") / pl.col("audio_duration_secs")).to_series()


def _percentiles(values: pl.Series) -> Percentiles:
    known = values.drop_nulls().cast(pl.Float64)

    def at(quantile: float) -> float | None:
        found = known.quantile(quantile, "linear")
        return None if found is None else round(found, 4)

    return Percentiles(count=len(known), p50=at(0.5), p90=at(0.9), p99=at(0.99))
