"""Looks for bytes that must not be on a disk: in whole files, and in the values of Parquet files, which are compressed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq


def remains(folders: Iterable[Path], markers: Mapping[str, str]) -> dict[str, list[str]]:
    """By file, the names of the ``markers`` whose text it holds. Sockets, links and files that vanish are left out."""
    wanted = {name: marker.encode() for name, marker in markers.items()}
    found = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        contents = list(_contents(path))
        names = [name for name, marker in wanted.items() if any(marker in content for content in contents)]
        if names:
            found[str(path)] = names
    return found


def _contents(path: Path) -> Iterator[bytes]:
    try:
        if path.is_symlink() or not path.is_file():
            return
        yield path.read_bytes()
        if path.suffix == ".parquet":
            yield str(pq.read_table(path).to_pylist()).encode()
    except FileNotFoundError:
        return
