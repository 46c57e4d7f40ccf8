"""Times that a step of the wall clock does not change, for processes of one machine: the time since the boot, and the
start of a process. `ClockSteps` detects steps of the wall clock.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

_AT_ONCE_SECS = 0.1
_START_FIELD = 19
"""Index of ``starttime`` in /proc/PID/stat after the command's name: proc_pid_stat(5), field 22 of all."""


@functools.cache
def boot() -> str:
    """An id of this boot of the machine, 12 hex digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]


def secs_since_boot() -> float:
    """Seconds since the boot, including suspended time; the same in every process of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def start_of(pid: int) -> str | None:
    """``<boot>.<clock ticks since the boot>`` of a process of this machine; None if there is no such process.

    The wall-clock time of a process's start, as psutil gives it, moves with the wall clock.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may contain any byte except NUL.
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else f"{boot()}.{int(fields[_START_FIELD])}"


def is_running(pid: int, start: str) -> bool:
    """Whether the process that had ``start`` still runs."""
    return start_of(pid) == start


class ClockSteps:
    """Detects that the wall clock has advanced by more or less than the time since the boot."""

    def __init__(self, least_secs: float) -> None:
        self._least_secs = least_secs
        self._ahead_secs = _ahead_secs()

    def look(self) -> float:
        """By how many seconds the wall clock was stepped since the last call; 0.0 for less than ``least_secs``."""
        before, self._ahead_secs = self._ahead_secs, _ahead_secs()
        stepped_secs = self._ahead_secs - before
        return stepped_secs if abs(stepped_secs) >= self._least_secs else 0.0


def _ahead_secs() -> float:
    """How far the wall clock is ahead of the time since the boot."""
    while True:
        begun, wall, ended = secs_since_boot(), time.time(), secs_since_boot()
        if ended - begun < _AT_ONCE_SECS:  # otherwise the process was paused between the two readings
            return wall - begun
