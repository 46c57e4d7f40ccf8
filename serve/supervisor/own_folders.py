"""Folders and files that only this user can access."""

from __future__ import annotations

import os
import secrets
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


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file that only this user can read, durably, whole or not at all.

    Without ``replace`` a file that exists stays as it is.
    """
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    if replace:
        fresh.replace(path)
        return
    try:
        os.link(fresh, path)  # fails if another process was first
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def own_file(path: Path) -> None:
    """Take a file's permissions from other users.

    Raises Conflict if it belongs to one of them, who may know its content.
    """
    found = path.stat()
    if found.st_uid == os.geteuid():
        path.chmod(found.st_mode & 0o700)
    elif found.st_uid != 0:
        raise Conflict(f"{path} belongs to another user; remove it, or chown it to yourself", code="foreign_file")


def open_to_others(path: Path) -> bool:
    """Whether other users have any permission on ``path``, or own it."""
    found = path.lstat()
    return bool(found.st_mode & 0o077) or found.st_uid != os.geteuid()
