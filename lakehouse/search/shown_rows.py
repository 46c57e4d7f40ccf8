"""What hits show of their rows, beside an index in arrays that may be mapped.

Reading twenty rows from Parquet decodes up to twenty row groups; from here it takes twenty small slices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.search.protocols import Positions, Row, RowPart

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "turns": ("session_id", "role", "text", "start_secs"),
    "segments": ("revision", "start_secs", "text"),
    "tts_renders": ("voice", "text", "chars", "audio_secs"),
}
"""The columns of each searched table that hits show, besides id and time."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class ShownRows:
    """Columns of ``n`` rows. Strings are one array of bytes and one of bounds, other values one array."""

    def __init__(self, columns: tuple[str, ...], arrays: dict[str, NDArray[Any]]) -> None:
        self.columns = columns
        self.arrays = arrays
        self._values = {name: self._reader(name) for name in columns}

    @classmethod
    def of(cls, frame: pl.DataFrame) -> ShownRows:
        """All columns of ``frame``, which must be strings or numbers."""
        arrays: dict[str, NDArray[Any]] = {}
        for column in frame:
            name = column.name
            if column.null_count():
                arrays[f"{name}.known"] = column.is_not_null().to_numpy()
            if column.dtype == pl.String:
                filled = column.fill_null("")
                arrays[f"{name}.text"] = np.frombuffer(filled.str.join("").item().encode(), np.uint8)
                ends = np.cumsum(filled.str.len_bytes().to_numpy(), dtype=np.int64)
                arrays[f"{name}.ends"] = np.concatenate([[0], ends])
            else:
                arrays[f"{name}.values"] = column.fill_null(0).to_numpy()
        return cls(tuple(frame.columns), arrays)

    def row(self, offset: int) -> Row:
        """The columns of one row."""
        return {name: value(offset) for name, value in self._values.items()}

    def _reader(self, name: str) -> Callable[[int], Any]:
        known = self.arrays.get(f"{name}.known")
        value = self._of_values(name) if f"{name}.values" in self.arrays else self._of_text(name)
        return value if known is None else lambda offset: value(offset) if known[offset] else None

    def _of_values(self, name: str) -> Callable[[int], Any]:
        values = self.arrays[f"{name}.values"]
        return lambda offset: values[offset].item()

    def _of_text(self, name: str) -> Callable[[int], str]:
        text, ends = self.arrays[f"{name}.text"], self.arrays[f"{name}.ends"]
        return lambda offset: text[ends[offset] : ends[offset + 1]].tobytes().decode()


def read_shown(part: RowPart, positions: Positions, columns: tuple[str, ...]) -> list[Row]:
    """The same of rows of a part, with id and time, in order of ``positions``. Blocks."""
    wanted = ("id", "created_at", *columns)
    # Whole rows of a file come from the cache of row groups.
    return part.read(positions, None if part.uri else wanted).select(wanted).to_dicts()


def with_keys(part: RowPart, positions: Positions, rows: list[Row]) -> list[Row]:
    """``rows`` with the id and time of their ``positions`` in front."""
    ids, times = part.index.ids[positions].tolist(), part.index.created[positions].tolist()
    return [
        {"id": row_id, "created_at": _EPOCH + dt.timedelta(microseconds=time), **row}
        for row_id, time, row in zip(ids, times, rows, strict=True)
    ]
