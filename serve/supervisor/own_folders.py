"""Folders that only this user can access."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from schemas.errors import Conflict


def own_folder(folder: Path, *, made_by_us: bool = False) -> None:
    """Create ``folder``, or restrict an existing one, so that only this user can enter it.

    Raises Conflict if it belongs to another user. With ``made_by_us`` also if it is a link or accessible to others, because
    another user may have created a folder with a predictable name first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat() if made_by_us else folder.stat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise Conflict(f"{folder} is not a folder of this user's; remove it, or choose another", code="foreign_folder")
    if made_by_us and found.st_mode & 0o077:
        raise Conflict(f"{folder} is open to other users (mode {found.st_mode & 0o777:o}); remove it", code="open_folder")
    folder.chmod(0o700)


def open_to_others(path: Path) -> bool:
    """Whether other users have any permission on ``path``, or own it."""
    found = path.lstat()
    return bool(found.st_mode & 0o077) or found.st_uid != os.geteuid()
