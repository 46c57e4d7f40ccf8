"""A file by which a supervisor tells processes that it is about to end them, and waits until they have finished their work.

A process holds a shared lock on the file while it has work. The supervisor writes into the file, and then waits until
nobody holds a lock. The kernel releases the locks of a process that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_NAME: Final = "work.lock"
_POLL_SECS: Final = 0.05


class Work:
    """What a process still has to finish, whose end may be foretold in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._file: int | None = None

    def begin(self) -> None:
        """There is work from now on. Raises OSError if the file cannot be written."""
        if self._file is None:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def end(self) -> None:
        """There is no work left."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def is_foretold(self) -> bool:
        """Whether this process will be ended; only known while there is work."""
        return self._file is not None and os.fstat(self._file).st_size > 0


def foretell(folder: Path) -> None:
    """Tell all processes that have work there, or begin some, that they will be ended."""
    _write(folder, b"ending\n")


def forget(folder: Path) -> None:
    """Let processes work there again."""
    _write(folder, b"")


def wait_until_finished(folder: Path, most_secs: float) -> bool:
    """Whether no process has work left there after at most ``most_secs``. Blocks."""
    deadline = time.monotonic() + most_secs
    file = os.open(folder / _NAME, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_POLL_SECS)
            else:
                return True
    finally:
        os.close(file)


def _write(folder: Path, content: bytes) -> None:
    file = os.open(folder / _NAME, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, content)
    finally:
        os.close(file)
