"""Scratch folders: removed after their use, or, if their process was killed, by the next process that makes a folder of
the same kind.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runtime.boot_clock import is_running, start_of

WORKER: Final = "worker"
ARCHIVE: Final = "archive"
CLIP: Final = "clip"
"""Kind of folders for clips of voices and known speakers that clients sent."""
KINDS: Final = (WORKER, ARCHIVE, CLIP)

_START = re.compile(r"[0-9a-f]{12}\.[0-9]+")


@contextlib.contextmanager
def scratch_folder(parent: Path, kind: str) -> Iterator[Path]:
    """A new folder of mode 0700 in ``parent``, removed afterwards.

    Its name has ``kind``, the host, the process id and the process's start. First, folders of this kind and host whose
    process has ended are removed. Raises OSError.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_abandoned(parent, kind)
    own = f"{_prefix(kind)}{os.getpid()}-{start_of(os.getpid())}-"
    folder = Path(tempfile.mkdtemp(prefix=own, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, kind: str) -> list[Path]:
    """Remove the folders of ``kind`` whose process on this host has ended, and return them."""
    found = abandoned(parent, kind)
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def abandoned(parent: Path, kind: str) -> list[Path]:
    """The folders of ``kind`` whose process on this host has ended."""
    return [path for path in parent.glob(f"{_prefix(kind)}*") if not _is_alive(path.name.removeprefix(_prefix(kind)))]


def _prefix(kind: str) -> str:
    return f"{kind}-{socket.gethostname()}-"


def _is_alive(owner: str) -> bool:
    """Whether the process of ``<pid>-<start>-<any>`` runs; True for a name of another form."""
    pid, start = [*owner.split("-", 2), ""][:2]
    return not (pid.isdigit() and _START.fullmatch(start)) or is_running(int(pid), start)
