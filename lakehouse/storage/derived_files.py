"""Files that are made from a table's data files, once for all processes of a machine.

A data file never changes, so neither does what is made from it. What was made from a data file that the table has no more
is removed: rows that were erased stay in no such file.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from lakehouse.storage.array_file import UNFINISHED, Record, map_arrays, write_arrays

T = TypeVar("T")

_UNFINISHED_SECS: Final = 3600.0
"""Age at which a file that a writer left unfinished is removed."""
_LOCK: Final = "lock-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How values of one kind are stored. ``title`` has the version: a file of another one is made again."""

    title: str
    suffix: str
    """End of the files' names, with a dot."""
    pack: Callable[[T], Record]
    unpack: Callable[[Record], T]
    """Raises ValueError for a record that is of no use here."""


class DerivedFiles:
    """The files derived from one table's data files, in a folder that several processes may use at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, uri: str, form: Form[T]) -> list[T] | None:
        """What was made from the data file ``uri``, mapped; None if it is to be made. Blocks for .1 ms."""
        path = self._path(uri, form)
        try:
            return [form.unpack(record) for record in map_arrays(path, form.title)]
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            log.exception("%s cannot be read; it is made again", path)
            return None

    def load(self, uri: str, form: Form[T], make: Callable[[], Iterable[T]]) -> list[T]:
        """As `open`; what is missing is made, by one process at a time. Raises OSError if it cannot be stored. Blocks."""
        found = self.open(uri, form)
        if found is not None:
            return found
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self._folder / f"{_LOCK}{form.suffix[1:]}"):
            found = self.open(uri, form)
            if found is not None:
                return found
            path = self._path(uri, form)
            write_arrays(path, form.title, map(form.pack, make()))
            return [form.unpack(record) for record in map_arrays(path, form.title)]

    def remove(self, uri: str, form: Form[T]) -> None:
        """Remove what was made from the data file ``uri``, which is then made again. Readers keep what they mapped."""
        self._path(uri, form).unlink(missing_ok=True)

    def size(self, uri: str, form: Form[T]) -> int:
        """Bytes on disk; 0 if it was not made."""
        path = self._path(uri, form)
        return path.stat().st_size if path.exists() else 0

    def is_empty(self) -> bool:
        """Whether the folder has no file, or does not exist."""
        return next(self._folder.glob("*"), None) is None

    def keep(self, uris: Iterable[str]) -> None:
        """Remove what was made from all other data files. Readers that have mapped it keep what they mapped."""
        wanted = {_stem(uri) for uri in uris}
        for path in self._folder.glob("*"):
            try:
                if path.name.startswith(UNFINISHED):
                    is_wanted = time.time() - path.stat().st_mtime < _UNFINISHED_SECS
                else:
                    is_wanted = path.name.startswith(_LOCK) or (bool(path.suffix) and path.stem in wanted)
                if not is_wanted:
                    path.unlink()
            except OSError:
                continue  # Another process removed or renamed it.

    def _path(self, uri: str, form: Form[T]) -> Path:
        return self._folder / f"{_stem(uri)}{form.suffix}"


def _stem(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def derived_folder(home: Path) -> Path:
    """The folder of the files that gateways make from tables: indexes and row blocks, in a folder for each table."""
    return home / "cache" / "history"


def derived_files(folder: Path) -> list[Path]:
    """All whole files in the folders of tables below ``folder``."""
    return sorted(path for path in folder.glob("*/*") if path.is_file() and not path.name.startswith((_LOCK, UNFINISHED)))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by one process and thread at a time; the kernel releases it when a process dies."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
