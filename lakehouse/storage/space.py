"""Free space on the disks of an instance.

A reserve is kept free of uploads, and a shortage is reported before the disk is full.

Accepted work needs room for its results and rows. So new recordings are refused while this room is still free.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from schemas.errors import StorageFull

_SHORT: Final = 10
"""Space counts as short below this multiple of the reserve."""


@dataclass(frozen=True, slots=True)
class Space:
    """Free bytes on the fullest of the disks; None where none is local."""

    free_bytes: int | None
    reserve_bytes: int

    @property
    def state(self) -> Literal["ok", "short", "full"]:
        """``full``: uploads are refused. ``short``: uploads will be refused soon."""
        if self.free_bytes is None or self.free_bytes >= _SHORT * self.reserve_bytes:
            return "ok"
        return "short" if self.free_bytes >= self.reserve_bytes else "full"

    def check(self) -> None:
        """Raises StorageFull if uploads are refused."""
        if self.state == "full":
            raise StorageFull(
                f"{(self.free_bytes or 0) / 2**20:.0f} MiB are free and {self.reserve_bytes / 2**20:.0f} are reserved for "
                "accepted work (FLUXIONS_RESERVE_BYTES); try again when the operator has made room"
            )


def space(folders: Sequence[Path], reserve_bytes: int) -> Space:
    """The free space now; folders that do not exist do not count."""
    free = [shutil.disk_usage(folder).free for folder in folders if folder.exists()]
    return Space(min(free, default=None), reserve_bytes)
