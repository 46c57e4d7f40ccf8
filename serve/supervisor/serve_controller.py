"""Ends Ray Serve's controller after a step of the wall clock.

The controller uses the wall clock: after a step back it checks no replica until the clock reaches the old time again. Ray
restarts the controller, which then finds the running replicas. Replicas serve requests without it.
"""

from __future__ import annotations

import contextlib
from typing import Final

import psutil

from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.marked_processes import marked

_TITLE: Final = "ray::ServeController"


def end_controller(instance: Instance) -> int:
    """Kill the controller of an instance's own Ray.

    Returns the number of killed processes, which is 0 for an external Ray.
    """
    ended = 0
    for process in marked(MARKER, instance.marker):
        with contextlib.suppress(psutil.Error):
            if any(_TITLE in part for part in process.cmdline()):
                process.kill()
                ended += 1
    return ended
