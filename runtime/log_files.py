"""Rotates log files: the content is moved to a numbered file, and the file continues empty.

The writing programs keep the file open, so the file is copied and truncated, not renamed. They must append (O_APPEND), or
their next line would leave a hole. Lines written between copy and truncation, some microseconds, are lost, as with
`copytruncate` of logrotate(8).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def rotate(log: Path, max_bytes: int, num_kept: int) -> bool:
    """Move the content of ``log`` to ``log.1`` if it is larger than ``max_bytes``; returns whether it was.

    Earlier files become ``log.2`` and so on, at most ``num_kept`` of them. Raises OSError.
    """
    try:
        if log.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(num_kept, 1, -1):
        if (earlier := _numbered(log, number - 1)).exists():
            earlier.replace(_numbered(log, number))
    if num_kept:
        shutil.copy2(log, _numbered(log, 1))
    os.truncate(log, 0)
    return True


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
