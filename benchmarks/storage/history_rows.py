"""Rows for `fluxions bench history`: years of use by many accounts, as sorted Delta tables.

Five accounts have a twentieth of the rows each, the others a Pareto tail. Every value follows from the row's id, so that
PostgreSQL can be given the same rows. Tables are as maintenance leaves them: sorted by (account, id), 250,000 rows a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

from lakehouse.tables.delta_writer import WRITER_PROPERTIES
from schemas.tables import table

HEAVY = tuple(f"heavy-{n}" for n in range(5))
HEAVY_SHARE = 0.05
FILE_ROWS = 250_000
FIRST_DAY_US = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z."""
SPREAD_US = 2 * 365 * 86_400 * 1_000_000
NUM_VOICES = 12
FAILED_EVERY = 50
SMALL_ROWS = range(20, 200)
"""Number of transcriptions of a small account."""


@dataclass(frozen=True, slots=True)
class Data:
    """The built tables. ``accounts``: by row, index into ``names``; ids are 1 to the number of rows, in order of time.

    ``narrow``: whether digests and keys are the same in all rows, so that files are small and quickly written.
    """

    names: list[str]
    accounts: dict[str, NDArray[np.int32]]
    narrow: bool = False

    def ids(self, name: str, account: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.accounts[name] == self.names.index(account)) + 1

    def small_accounts(self, count: int) -> list[str]:
        sizes = np.bincount(self.accounts["transcriptions"], minlength=len(self.names))
        found = [self.names[i] for i in range(len(HEAVY), len(self.names)) if sizes[i] in SMALL_ROWS]
        return found[:: max(1, len(found) // count)][:count] or [self.names[-1]]


def created_us(ids: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Time of each id, microseconds since 1970, whole milliseconds."""
    return FIRST_DAY_US + (ids * (SPREAD_US // total)) // 1000 * 1000


def build(root: str, num_rows: int, *, narrow: bool = False) -> Data:
    """Write ``transcriptions`` of ``num_rows``, ``tts_renders`` and ``conversations`` of a tenth each, under ``root``."""
    random = np.random.default_rng(7)
    num_others = max(20, num_rows // 500)
    weights = (np.arange(num_others) + 1.0) ** -1.1
    shares = np.concatenate([[HEAVY_SHARE] * len(HEAVY), weights / weights.sum() * (1 - HEAVY_SHARE * len(HEAVY))])
    names = [*HEAVY, *(f"other-{n:07d}" for n in range(num_others))]
    accounts: dict[str, NDArray[np.int32]] = {}
    for name, count in _counts(num_rows).items():
        accounts[name] = random.choice(len(names), count, p=shares).astype(np.int32)
        for frame in frames(Data(names, accounts, narrow), name):
            data = frame.to_arrow().cast(table(name).schema)
            write_deltalake(f"{root}/tables/{name}", data, mode="append", writer_properties=WRITER_PROPERTIES)
    return Data(names, accounts, narrow)


def frames(data: Data, name: str) -> Iterator[pl.DataFrame]:
    """The rows of a table, sorted by (account, id), in frames of at most ``FILE_ROWS``."""
    of_row = data.accounts[name]
    order = np.argsort(of_row, kind="stable")
    for start in range(0, len(order), FILE_ROWS):
        rows = order[start : start + FILE_ROWS]
        owners = pl.Series(data.names, dtype=pl.String).gather(of_row[rows])
        yield _frame(name, rows.astype(np.int64) + 1, owners, len(order), narrow=data.narrow)


def _counts(num_rows: int) -> dict[str, int]:
    return {"transcriptions": num_rows, "tts_renders": num_rows // 10, "conversations": num_rows // 10}


def _frame(name: str, ids: NDArray[np.int64], accounts: pl.Series, total: int, *, narrow: bool) -> pl.DataFrame:
    number = pl.col("id")
    created = pl.Series(created_us(ids, total)).cast(pl.Datetime("us", "UTC"))
    mixed = [number.hash(seed).cast(pl.String).str.zfill(20).str.slice(4) for seed in range(4)]
    digits = pl.lit("0" * 64) if narrow else pl.concat_str(mixed)
    voice = pl.format("voice-{}", number % NUM_VOICES)
    failed = number % FAILED_EVERY == 0
    values: dict[str, pl.Expr] = {
        "status": pl.when(failed).then(pl.lit("failed")).otherwise(pl.lit("completed")),
        "updated_at": pl.col("created_at") + pl.duration(seconds=20),
        "filename": pl.format("call-{}.mp3", number),
        "sha256": digits,
        "audio_key": pl.format("audio/{}", digits),
        "result_key": pl.format("results/{}.json", number),
        "playback_key": pl.format("playback/{}.ogg", number),
        "audio_duration_secs": (number % 7200) * 0.25,
        "audio_format": pl.lit("opus"),
        "language": pl.lit("en"),
        "cost_usd": (number % 7200) * 0.0001,
        "voice": voice,
        "text": pl.format("Your parcel {} is on its way and arrives before noon tomorrow.", number),
        "session_id": pl.format("sess_{}", number),
        "started_at": pl.col("created_at"),
        "num_segments": number % 90,
        "num_speakers": number % 4,
    }
    frame = pl.DataFrame({"id": ids, "account": accounts, "created_at": created})
    values |= {column: pl.col(column) for column in frame.columns}
    schema = table(name).schema
    kinds = pl.Schema(schema)
    return frame.select(values.get(f.name, _filler(f)).cast(kinds[f.name]).alias(f.name) for f in schema)


def _filler(field: pa.Field) -> pl.Expr:
    """A plausible value for a column that no query uses."""
    if field.nullable:
        return pl.lit(None)
    if pa.types.is_string(field.type):
        return pl.lit("value")
    if pa.types.is_boolean(field.type):
        return pl.lit(value=False)
    return pl.lit(0)
