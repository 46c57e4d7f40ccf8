"""Flushing the files of a local Delta table to disk; delta-rs does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from lakehouse.storage.fsync import fsync_path, fsync_together, write_anew
from lakehouse.tables.delta_log import entry_path


def fsync_commits(table: Path, first: int, last: int) -> None:
    """Flush versions ``first`` to ``last`` of a local Delta table: data files, log files, and their folders."""
    fsync_together([*_files(table, first, last), table, table / "_delta_log"], fsync_path)


def write_commits_anew(table: Path, first: int, last: int) -> None:
    """Make versions durable whose flush failed: each of their files is written anew, see `write_anew`.

    Raises OSError, or ValueError if a file that could not be flushed can no longer be read.
    """
    for path in _files(table, first, last):
        write_anew(path)
    fsync_together([table, table / "_delta_log"], fsync_path)


def _files(table: Path, first: int, last: int) -> Iterator[Path]:
    """The data files of each version, then its log file."""
    for version in range(first, last + 1):
        entry = table / entry_path(version)
        for line in entry.read_bytes().splitlines():
            action = json.loads(line)
            if "add" in action:
                yield table / unquote(action["add"]["path"])
        yield entry


def fsync_checkpoint(table: Path, version: int) -> None:
    """Flush a checkpoint. Log files before it may be cleaned up later, so from then on readers depend on it."""
    log = table / "_delta_log"
    fsync_together([*log.glob(f"{version:020d}.checkpoint*.parquet"), log / "_last_checkpoint", log], fsync_path)
