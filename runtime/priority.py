"""Priorities of processes: processes that answer interactive requests run before processes that transcribe recordings.

Ray starts its workers with a niceness of 15, which puts the gateway behind every other program of the machine and level
with the engines. An instance starts the workers with 0 instead, and processes that may wait lower their own priority.

Where Linux groups processes by session (desktops, containers), it divides processor time between sessions first, and
niceness counts only within a session (sched(7), "The autogroup feature"). There, processes of lower priority lead a
session.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

BACKGROUND_NICENESS: Final = 10
"""With this niceness the kernel gives a process a tenth of the time of one with 0."""

_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_SECS = 20, 0.1
"""Linux accepts one change of the autogroup's niceness each tenth of a second, from all users together."""


def lower_priority(niceness: int = BACKGROUND_NICENESS) -> None:
    """Lower the priority of this thread and of the threads and processes that it starts to ``niceness``, permanently."""
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), niceness))
    lower_session_priority()


def lower_session_priority() -> None:
    """Give the niceness of this thread to its session, if this process leads one; nothing to do where it is 0."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness <= 0 or os.getsid(0) != os.getpid():
        return
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:
            time.sleep(_PAUSE_SECS)
        except OSError:
            return  # This system has no autogroups.
        else:
            return
