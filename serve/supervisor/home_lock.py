"""One instance runs in a home at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from schemas.errors import Conflict


def locked(home: Path) -> IO[str]:
    """A lock that is held while an instance runs in ``home``; the kernel releases it when the process ends.

    Raises Conflict while another instance runs.
    """
    lock = (home / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise Conflict(f"an instance already runs in {home} (process {holder}); `fluxions down` stops it") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
