"""Removes files that a killed process was writing into a local storage root.

A local store writes ``NAME#NUMBER`` beside NAME and renames it at the end (object_store's ``LocalFileSystem``). Listings
of the store leave such files out, so no other maintenance task sees them.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lakehouse.storage.location import Location

_UNFINISHED: Final = re.compile(r".+#[0-9]+")


def unfinished_files(location: Location, before: dt.datetime) -> Iterator[Path]:
    """Unfinished files last written ``before``; none on a remote root, where the store's own rules end such uploads.

    Blocks.
    """
    if location.folder is None:
        return
    for folder, _, names in os.walk(location.folder):
        for name in filter(_UNFINISHED.fullmatch, names):
            path = Path(folder, name)
            try:
                if path.stat().st_mtime < before.timestamp():
                    yield path
            except FileNotFoundError:
                continue  # The file was finished meanwhile.


def remove_unfinished(location: Location, before: dt.datetime) -> int:
    """Remove unfinished files last written ``before``, and return their number. Blocks."""
    removed = 0
    for path in unfinished_files(location, before):
        path.unlink(missing_ok=True)
        removed += 1
    return removed
