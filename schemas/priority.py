"""Who goes first where the processor is short: what answers people, before what works through recordings.

Ray gives its workers a niceness of 15, which puts the gateway behind every program on the machine and level with
the engines; an instance starts them at 0 instead, and what may wait steps back by itself.

Where a Linux desktop or container groups processes by session, it shares the processor out between sessions first, and
niceness counts only within one (sched(7), "The autogroup feature"): what steps back there leads a session of its own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

BACKGROUND_NICENESS: Final = 10
"""At this the kernel gives a tenth of the time that a process at 0 has."""

_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_SECS = 20, 0.1
"""Linux takes one such wish each tenth of a second, of all users together."""


def step_back() -> None:
    """Let others go first, from here on: this thread, and the threads and processes it starts. Never undone."""
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), BACKGROUND_NICENESS))
    session_steps_back()


def session_steps_back() -> None:
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
            return  # This system has no such groups.
        else:
            return
