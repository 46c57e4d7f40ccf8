"""A wall clock that can be stepped for Python programs: `stepped_clock.c`, preloaded into them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


class SteppedClock:
    """The wall clock of Python processes that are started with `environment`. Monotonic clocks and file times stay true.

    ``folder`` is for its files. Needs a C compiler, ``cc``; raises FileNotFoundError or CalledProcessError without one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        library, self._offset = folder / "stepped_clock.so", folder / "offset"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"], check=True, timeout=60)
        self._offset.write_bytes(struct.pack("i", 0))
        self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(self._offset)}

    def step(self, offset_secs: int) -> None:
        """From now on the clock is ``offset_secs`` before or after the true time."""
        # In place, for the processes have mapped this file.
        with self._offset.open("r+b", buffering=0) as file:
            file.write(struct.pack("i", offset_secs))
