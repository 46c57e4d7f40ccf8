"""Flushing files to disk before their content is acknowledged. Neither delta-rs nor obstore calls fsync (seen with strace).

A file is durable once its bytes and the folder entries that name it are flushed. After a failed fsync the kernel may drop
the pages that it could not write, and report the next fsync of the same file as a success:
https://lwn.net/Articles/752063/. So a file that could not be flushed is written anew, and never flushed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Final

_NUM_LOCKS: Final = 64
"""More than the flushes that run at the same time."""


def fsync_path(path: Path) -> None:
    """Flush one file or folder. Raises OSError; after that the state of the file on disk is unknown."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_anew(path: Path) -> None:
    """Replace a file by a flushed copy of itself. Its folder is not flushed. Raises OSError; the file is then unchanged."""
    content = path.read_bytes()
    copy = path.with_name(f"{path.name}#0")  # listings of a local store leave such names out
    try:
        copy.write_bytes(content)
        fsync_path(copy)
        copy.rename(path)
    except OSError:
        copy.unlink(missing_ok=True)
        raise


def fsync_with_parents(path: Path, root: Path) -> None:
    """Flush ``path`` and every folder from it up to and including ``root``."""
    fsync_path(path)
    for parent in path.parents:
        fsync_path(parent)
        if parent == root:
            return


class FileFlush:
    """Flushes one file at each call. Raises OSError; such a file is written anew at the next call, see `write_anew`.

    Calls for the same file wait for each other, so that no call mistakes the success of an fsync after a failed one for
    its own.
    """

    def __init__(self) -> None:
        self._failed: set[Path] = set()
        self._locks = [Lock() for _ in range(_NUM_LOCKS)]

    def __call__(self, path: Path) -> None:
        """See the class."""
        with self._locks[hash(path) % _NUM_LOCKS]:
            flush = write_anew if path in self._failed else fsync_path
            try:
                flush(path)
            except OSError:
                self._failed.add(path)
                raise
            self._failed.discard(path)


def fsync_all(paths: Iterable[Path], root: Path, flush: Callable[[Path], None] = fsync_path) -> None:
    """Flush files under ``root`` by ``flush``, and each of their folders once, up to and including ``root``."""
    folders = {root}
    for path in paths:
        flush(path)
        folder = path.parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders, reverse=True):
        fsync_path(folder)
