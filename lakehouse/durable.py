"""Flushing to the disk. Neither delta-rs nor obstore calls fsync (seen with strace), so what is acked is flushed here.

A file is durable when its bytes and the folder entry that names it are both flushed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from lakehouse.delta_log import entry_path


def fsync_path(path: Path) -> None:
    """Flush one file or folder. Raises OSError; after that error nothing may be assumed about the file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_with_parents(path: Path, root: Path) -> None:
    """Flush ``path`` and every folder from it up to and including ``root``."""
    fsync_path(path)
    for parent in path.parents:
        fsync_path(parent)
        if parent == root:
            return


def fsync_all(paths: Iterable[Path], root: Path) -> None:
    """Flush files under ``root``, and once each every folder from them up to and including it."""
    folders = {root}
    for path in paths:
        fsync_path(path)
        folder = path.parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders, reverse=True):
        fsync_path(folder)


def fsync_commits(table: Path, first: int, last: int) -> None:
    """Flush versions ``first`` to ``last`` of a local Delta table: data files, log files, and their folders."""
    log = table / "_delta_log"
    for version in range(first, last + 1):
        entry = table / entry_path(version)
        for line in entry.read_bytes().splitlines():
            action = json.loads(line)
            if "add" in action:
                fsync_path(table / unquote(action["add"]["path"]))
        fsync_path(entry)
    fsync_path(table)
    fsync_path(log)


def fsync_checkpoint(table: Path, version: int) -> None:
    """Flush a checkpoint before anything can depend on it alone (log files before it may be cleaned up later)."""
    log = table / "_delta_log"
    for path in (*log.glob(f"{version:020d}.checkpoint*.parquet"), log / "_last_checkpoint"):
        fsync_path(path)
    fsync_path(log)
