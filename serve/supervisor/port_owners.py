"""Whose process listens on a port of this instance: a process of another user could receive keys there.

A port above 1023 belongs to whoever binds it first, and every start leaves some time between the choice of a port and its
use.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from schemas.errors import Conflict

_LISTENS: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def check_own_port(port: int) -> None:
    """Raises Conflict if a process of another user listens on a TCP port of this machine. Elsewhere than on Linux nothing
    is checked.
    """
    others = {owner for at, owner in _listeners() if at == port} - {os.geteuid()}
    if others:
        raise Conflict(
            f"port {port} of this instance was taken by a process of the user {min(others)}; end it, and start again",
            code="foreign_port",
        )


def _listeners() -> list[tuple[int, int]]:
    """(port, user id) of every listening TCP socket, from proc(5)."""
    found = []
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, owner, *_ = line.split()
                if state == _LISTENS:
                    found.append((int(local.rpartition(":")[2], 16), int(owner)))
    return found
