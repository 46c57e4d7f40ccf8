"""Who goes first where the processor is short: what answers people, before what works through recordings.

Ray gives its workers a niceness of 15, which puts the gateway behind every program on the machine and level with
the engines; an instance starts them at 0 instead, and what may wait steps back by itself.
"""

from __future__ import annotations

import os
from typing import Final

BACKGROUND_NICENESS: Final = 10
"""At this the kernel gives a tenth of the time that a process at 0 has."""


def step_back() -> None:
    """Let others go first, from here on: this thread, and the threads and processes it starts. Never undone."""
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), BACKGROUND_NICENESS))
