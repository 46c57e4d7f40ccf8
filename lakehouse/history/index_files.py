"""Row indexes and row blocks in files that are mapped: all readers of a machine share them, and none makes one again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.history.row_blocks import FileRows, RowBlockFiles
from lakehouse.history.row_index import RowIndex, hashes
from lakehouse.storage.array_file import Record
from lakehouse.storage.derived_files import DerivedFiles, Form
from lakehouse.tables.open_table import open_table
from schemas.domain import Seconds

_ARRAYS: Final = ("starts", "ids", "created", "codes", "hashes", "revisions", "order", "hidden")

log = logging.getLogger(__name__)


class IndexFiles:
    """The row indexes of one table's data files, in a folder that several processes may use at the same time."""

    def __init__(self, folder: Path, columns: Sequence[str] | None = None) -> None:
        """``columns`` of the table, if its rows are to be stored in blocks as well."""
        self._files = DerivedFiles(folder)
        self._blocks = RowBlockFiles(self._files, columns) if columns else None

    def index_of(self, uri: str, build: Callable[[], RowIndex]) -> RowIndex:
        """The index of the data file ``uri``, mapped; what ``build`` gives where it cannot be stored. Blocks."""
        try:
            return self._files.load(uri, ROW_INDEX, lambda: [build()])[0]
        except (OSError, ValueError):
            log.exception("the index of %s cannot be stored; it stays in this process's memory", uri)
            return build()

    def rows_of(self, uri: str, frames: Callable[[], Iterator[pl.DataFrame]]) -> FileRows | None:
        """Where the rows of the data file ``uri`` are found one by one; ``frames``: see `FileRows`."""
        return FileRows(self._blocks, uri, frames) if self._blocks else None

    def wait(self, most_secs: Seconds | None = None) -> None:
        """Wait until no row blocks are being made. Blocks. Raises TimeoutError after ``most_secs``."""
        if self._blocks:
            self._blocks.wait(most_secs)

    def close(self) -> None:
        """Make no more row blocks."""
        if self._blocks:
            self._blocks.close()

    def keep(self, uris: Iterable[str]) -> None:
        """Remove whatever was made from other data files. Readers that have mapped it keep what they mapped."""
        self._files.keep(uris)

    def keep_those_of(self, table_uri: str) -> None:
        """As `keep`, for the data files of a table's newest version. Raises DeltaError if it cannot be opened. Blocks."""
        if not self._files.is_empty():
            self.keep(
                f"{table_uri}/{path}" for path in open_table(table_uri).get_add_actions(flatten=True)["path"].to_pylist()
            )


class _Names(Sequence[str]):
    """Sorted strings in a mapped file."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._text = text
        self._ends = ends
        self._outer: dict[int, str] = {}
        """The first and the last, by place."""
        self._outer = {place: self[place] for place in (0, len(ends) - 1) if 0 <= place < len(ends)}

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if (known := self._outer.get(place)) is not None:
            return known
        if not 0 <= place < len(self):
            raise IndexError(place)
        start = int(self._ends[place - 1]) if place else 0
        return self._text[start : int(self._ends[place])].tobytes().decode()


def _pack(index: RowIndex) -> Record:
    names = [name.encode() for name in index.accounts]
    arrays: dict[str, NDArray[Any]] = {
        "names": np.frombuffer(b"".join(names), np.uint8),
        "name_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
    }
    arrays |= {name: array for name in _ARRAYS if (array := getattr(index, name)) is not None}
    return Record({"hash": _hash(), "values": index.values}, arrays)


def _unpack(record: Record) -> RowIndex:
    if record.values["hash"] != _hash():
        raise ValueError("hashes of another version of Polars")
    names = _Names(record.arrays["names"], record.arrays["name_ends"])
    found = {name: record.arrays.get(name) for name in _ARRAYS}
    return RowIndex(accounts=names, values=record.values["values"], is_mapped=True, **found)  # type: ignore[arg-type]


@cache
def _hash() -> int:
    """A hash as indexes have them: they are the same in one version of Polars only."""
    return int(hashes(pl.Series(["fluxions"]))[0])


ROW_INDEX: Final = Form("row index 2", ".rows", _pack, _unpack)
