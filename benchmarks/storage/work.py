"""What a process, or one of its threads, has done: numbers that other programs on the machine hardly change.

The time of a task says little on a busy machine. Its processor time and its bytes say as much as on an idle one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from schemas.domain import Seconds


@dataclass(frozen=True, slots=True)
class Work:
    """Sums since the start. ``queued_secs``: time of being ready to run without a processor; 0 of a whole process."""

    cpu_secs: Seconds = 0.0
    queued_secs: Seconds = 0.0
    written_bytes: int = 0

    @classmethod
    def of_process(cls) -> Work:
        """Of this process with all its threads."""
        times = psutil.Process().cpu_times()
        return cls(times.user + times.system, 0.0, _written(Path("/proc/self/io")))

    @classmethod
    def of_thread(cls, name: str) -> Work:
        """Of the thread of this process whose name begins with ``name``; nothing if there is none."""
        found = [thread.native_id for thread in threading.enumerate() if thread.name.startswith(name)]
        if not found:
            return cls()
        task = Path(f"/proc/self/task/{found[0]}")
        on_processor, queued, _ = map(int, (task / "schedstat").read_text().split())
        return cls(on_processor / 1e9, queued / 1e9, _written(task / "io"))

    def __sub__(self, earlier: Work) -> Work:
        """What was done since ``earlier``."""
        return Work(
            self.cpu_secs - earlier.cpu_secs,
            self.queued_secs - earlier.queued_secs,
            self.written_bytes - earlier.written_bytes,
        )


def _written(path: Path) -> int:
    lines = dict(line.split(": ") for line in path.read_text().splitlines())
    return int(lines["wchar"])
