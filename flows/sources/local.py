"""Recordings on a disk: a folder with all below it, or a glob."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.sources.entries import Entry, Problem


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Every file below ``root`` in order of names; what is no recording is told when its first bytes are read.

    Names that begin with a dot are left out, and links to folders are not followed: they may lead in circles.
    """

    root: Path

    def __iter__(self) -> Iterator[Entry | Problem]:
        return self._walk(self.root.resolve())

    def _walk(self, folder: Path) -> Iterator[Entry | Problem]:
        try:
            with os.scandir(folder) as found:
                inside = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            yield Problem(str(folder), "unreadable_folder", f"the folder cannot be read: {error.strerror}")
            return
        for item in inside:
            if item.is_dir(follow_symlinks=False):
                yield from self._walk(folder / item.name)
            elif not item.is_dir():
                yield Entry(str(folder / item.name), item.name)


@dataclass(frozen=True, slots=True)
class GlobSource:
    """Every file a pattern matches; ``**`` reaches into folders."""

    pattern: str

    def __iter__(self) -> Iterator[Entry | Problem]:
        for found in glob.iglob(self.pattern, recursive=True):  # noqa: PTH207 - a path cannot glob absolute patterns
            path = Path(found)
            if not path.is_dir():
                yield Entry(str(path.absolute()), path.name)
