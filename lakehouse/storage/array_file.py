"""A file of arrays that is mapped into memory, so that processes share one copy and read only the pages they touch.

A file has a line that names what it holds, then arrays, then a description of them as JSON, the length of that (8 bytes),
and a line that only a whole file ends with. Each array begins at a multiple of 64 bytes. Because the description comes
last, a writer holds one record at a time.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from lakehouse.storage.fsync import fsync_path

UNFINISHED: Final = "new-"
"""Names of files that are being written begin so."""
_END: Final = b"\nend of arrays\n"
_LENGTH_BYTES: Final = 8
_ALIGNED: Final = 64


@dataclass(frozen=True, slots=True)
class Record:
    """``values`` is anything that JSON can hold. A file has one or more records."""

    values: Any
    arrays: dict[str, NDArray[Any]]


def write_arrays(path: Path, title: str, records: Iterable[Record]) -> None:
    """Write ``records`` under a line that says ``title``, on disk before the name is. Raises OSError.

    Until then, and if the process is killed, ``path`` is what it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, title, records)
            file.flush()
            os.fsync(file.fileno())  # A name must never stand for bytes that a power failure took.
        unfinished.replace(path)
        fsync_path(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def map_arrays(path: Path, title: str) -> list[Record]:
    """The records of a file. Raises OSError, and ValueError for a file that is not whole or has another title."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    first = _head(title)
    described = len(mapped) - len(_END) - _LENGTH_BYTES
    if described < len(first) or mapped[: len(first)] != first or mapped[-len(_END) :] != _END:
        raise ValueError(f"{path} is not a whole file of {title}")
    length = int.from_bytes(mapped[described : described + _LENGTH_BYTES], "little")
    return [
        Record(
            record["values"],
            {name: np.frombuffer(mapped, dtype, count, place) for name, (dtype, place, count) in record["arrays"].items()},
        )
        for record in json.loads(mapped[described - length : described])
    ]


def _write(file: BinaryIO, title: str, records: Iterable[Record]) -> None:
    end = file.write(_head(title))
    described = []
    for record in records:
        places = {}
        for name, array in record.arrays.items():
            places[name] = (array.dtype.str, end, len(array))
            file.write(np.ascontiguousarray(array).data)
            end += array.nbytes
            end += file.write(b"\0" * (-end % _ALIGNED))
        described.append({"values": record.values, "arrays": places})
    description = json.dumps(described).encode()
    file.write(description + len(description).to_bytes(_LENGTH_BYTES, "little") + _END)


def _head(title: str) -> bytes:
    line = f"fluxions {title}\n".encode()
    return line + b"\0" * (-len(line) % _ALIGNED)
