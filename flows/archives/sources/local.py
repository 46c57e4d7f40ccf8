"""Recordings on a disk: all files below a folder, or those that match a glob."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.archives.sources.entries import Entry, Problem, location_of
from runtime.file_names import readable


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Every file below ``root``, sorted by name. Files that are no recordings are recognised later, by their first bytes.

    Names that begin with a dot are left out. Links to folders are not followed, because they may form a circle.
    """

    root: Path

    def __iter__(self) -> Iterator[Entry | Problem]:
        return self._walk(self.root.resolve())

    def _walk(self, folder: Path) -> Iterator[Entry | Problem]:
        try:
            with os.scandir(folder) as found:
                inside = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            yield Problem(location_of(folder), "unreadable_folder", f"the folder cannot be read: {error.strerror}")
            return
        for item in inside:
            if item.is_dir(follow_symlinks=False):
                yield from self._walk(folder / item.name)
            elif not item.is_dir():
                yield Entry(location_of(folder / item.name), readable(item.name))


@dataclass(frozen=True, slots=True)
class GlobSource:
    """Every file that a pattern matches; ``**`` matches any number of folders."""

    pattern: str

    def __iter__(self) -> Iterator[Entry | Problem]:
        for found in glob.iglob(self.pattern, recursive=True):  # noqa: PTH207 - a path cannot glob absolute patterns
            path = Path(found)
            if not path.is_dir():
                yield Entry(location_of(path.absolute()), readable(path.name))
