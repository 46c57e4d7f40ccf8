"""Opens Delta tables that another thread or process is writing."""

from __future__ import annotations

import time
from typing import Final

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

_GAP: Final = "found gap"
_ATTEMPTS: Final = 10
_PAUSE_SECS: Final = 0.02


def open_table(uri: str, version: int | None = None) -> DeltaTable:
    """The table at ``uri`` in a version, by default the newest. Blocks. Raises as `DeltaTable`.

    Delta lists the folder of the log. A file system may leave files out that are created meanwhile, and show later ones
    (POSIX leaves it open, `readdir`). Delta refuses a list with a gap. The next list has the files.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return DeltaTable(uri, version=version)
        except DeltaError as error:
            if _GAP not in str(error):
                raise
            time.sleep(_PAUSE_SECS)
    return DeltaTable(uri, version=version)
