"""Row indexes in files that are mapped into memory, so that all readers of a machine share them and none builds one again.

A data file never changes, so neither does its index. A file has a line that names the format, the length of its head (8
bytes), the head as JSON, and then the arrays; what follows the head, and each array, begins at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lakehouse.history.row_index import RowIndex, hashes
from lakehouse.storage.fsync import fsync_path

_MAGIC: Final = b"fluxions row index 1\n"
_LENGTH_BYTES: Final = 8
_ALIGNED: Final = 64
_UNFINISHED: Final = "new-"
_UNFINISHED_SECS: Final = 3600.0
"""Age at which a file that a writer left unfinished is removed."""
_ARRAYS: Final = ("starts", "ids", "created", "codes", "hashes", "revisions", "order", "hidden")

log = logging.getLogger(__name__)


class IndexFiles:
    """The indexes of one table's data files, in a folder that several processes may use at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def index_of(self, uri: str, build: Callable[[], RowIndex]) -> RowIndex:
        """The index of the data file ``uri``, mapped; what ``build`` gives where it cannot be stored. Blocks."""
        path = self._path(uri)
        try:
            return read(path)
        except FileNotFoundError:
            index = build()
        except (OSError, ValueError):
            log.exception("%s cannot be read; building it again", path)
            index = build()
        try:
            self._write(path, index)
            return read(path)
        except (OSError, ValueError):
            log.exception("%s cannot be written; the index stays in this process's memory", path)
            return index

    def keep(self, uris: Iterable[str]) -> None:
        """Remove the indexes of all other data files. Readers that have mapped them keep what they mapped."""
        wanted = {self._path(uri).name for uri in uris}
        for path in self._folder.glob("*"):
            try:
                is_old = time.time() - path.stat().st_mtime > _UNFINISHED_SECS
                if path.name not in wanted and (is_old or not path.name.startswith(_UNFINISHED)):
                    path.unlink()
            except OSError:
                continue  # Another process removed or renamed it.

    def _path(self, uri: str) -> Path:
        return self._folder / hashlib.sha256(uri.encode()).hexdigest()[:32]

    def _write(self, path: Path, index: RowIndex) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(_encoded(index))
                file.flush()
                os.fsync(file.fileno())  # A name must never stand for bytes that a power failure took.
            unfinished.replace(path)
            fsync_path(self._folder)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


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


def read(path: Path) -> RowIndex:
    """The index that a file has, mapped. Raises OSError, and ValueError for a file of another format, length or hash."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = len(_MAGIC) + _LENGTH_BYTES
    if mapped[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{path} is not a row index")
    length = int.from_bytes(mapped[len(_MAGIC) : begin], "little")
    head: dict[str, Any] = json.loads(mapped[begin : begin + length])
    first = _aligned(begin + length)
    if first + head["size"] != len(mapped) or head["hash"] != _hash():
        raise ValueError(f"{path} is not whole, or is of another version of Polars")
    arrays: dict[str, NDArray[Any]] = {
        name: np.frombuffer(mapped, dtype, count, first + place) for name, (dtype, place, count) in head["arrays"].items()
    }
    names = _Names(arrays["names"], arrays["name_ends"])
    found = {name: arrays.get(name) for name in _ARRAYS}
    return RowIndex(accounts=names, values=head["values"], is_mapped=True, **found)  # type: ignore[arg-type]


def _encoded(index: RowIndex) -> Iterator[bytes]:
    names = [name.encode() for name in index.accounts]
    arrays: dict[str, NDArray[Any]] = {
        "names": np.frombuffer(b"".join(names), np.uint8),
        "name_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
    }
    arrays |= {name: array for name in _ARRAYS if (array := getattr(index, name)) is not None}
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = (array.dtype.str, end, len(array))
        end = _aligned(end + array.nbytes)
    head = json.dumps({"size": end, "hash": _hash(), "values": index.values, "arrays": places}).encode()
    yield _padded(_MAGIC + len(head).to_bytes(_LENGTH_BYTES, "little") + head)
    for array in arrays.values():
        yield _padded(array.tobytes())


def _hash() -> int:
    """A hash as indexes have them: they are the same in one version of Polars only."""
    return int(hashes(pl.Series(["fluxions"]))[0])


def _aligned(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _padded(content: bytes) -> bytes:
    return content.ljust(_aligned(len(content)), b"\0")
