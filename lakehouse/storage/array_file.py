"""A file of arrays that is mapped into memory, so that processes share one copy and read only the pages they touch.

A file has a line that names what it holds, then arrays, then a description of them as JSON, its length and checksum and the
checksum of all before it, and a line that only a whole file ends with. Each array begins at a multiple of 64 bytes. Because
the description comes last, a writer holds one record at a time.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from lakehouse.storage.fsync import fsync_path

UNFINISHED: Final = "new-"
"""Names of files that are being written begin so."""
_FORM: Final = b"fluxions arrays 2: "
_END: Final = b"\nend of arrays\n"
_NUMBERS: Final = struct.Struct("<QII")
"""Length and checksum of the description, checksum of all before it."""
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
    """The records of a file. Raises OSError, and ValueError for a file that is not whole or has another title.

    The contents of arrays are not compared with their checksum, which would read the whole file.
    """
    mapped = _mapped(path)
    first = _head(title)
    if mapped[: len(first)] != first:
        raise ValueError(f"{path} is no file of {title}")
    return [
        Record(
            record["values"],
            {name: np.frombuffer(mapped, dtype, count, place) for name, (dtype, place, count) in record["arrays"].items()},
        )
        for record in json.loads(_described(path, mapped)[0])
    ]


def check_arrays(path: Path) -> None:
    """Read a whole file, and compare it with its checksums. Raises OSError, and ValueError for a damaged file.

    A file in another form than this version writes is passed over: `map_arrays` refuses it, so nobody uses it.
    """
    mapped = _mapped(path)
    if mapped[: len(_FORM)] != _FORM:
        return
    _, start, checksum = _described(path, mapped)
    if zlib.crc32(memoryview(mapped)[:start]) != checksum:
        raise ValueError(f"{path}: its arrays were changed")


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _described(path: Path, mapped: mmap.mmap) -> tuple[bytes, int, int]:
    """(description, where it begins, checksum of all before it). Raises ValueError."""
    end = len(mapped) - len(_END) - _NUMBERS.size
    if end < len(_FORM) or mapped[-len(_END) :] != _END:
        raise ValueError(f"{path} is not whole")
    length, checksum, before = _NUMBERS.unpack(mapped[end : end + _NUMBERS.size])
    start = max(0, end - length)
    description = mapped[start:end]
    if zlib.crc32(description) != checksum:
        raise ValueError(f"{path}: its description was changed")
    return description, start, before


def _write(file: BinaryIO, title: str, records: Iterable[Record]) -> None:
    end = checksum = 0

    def put(content: bytes | memoryview) -> None:
        nonlocal end, checksum
        file.write(content)
        end += memoryview(content).nbytes
        checksum = zlib.crc32(content, checksum)

    put(_head(title))
    described = []
    for record in records:
        places = {}
        for name, array in record.arrays.items():
            places[name] = (array.dtype.str, end, len(array))
            put(np.ascontiguousarray(array).data)
            put(b"\0" * (-end % _ALIGNED))
        described.append({"values": record.values, "arrays": places})
    description = json.dumps(described).encode()
    file.write(description + _NUMBERS.pack(len(description), zlib.crc32(description), checksum) + _END)


def _head(title: str) -> bytes:
    line = _FORM + f"{title}\n".encode()
    return line + b"\0" * (-len(line) % _ALIGNED)
