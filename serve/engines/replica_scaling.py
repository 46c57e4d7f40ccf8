"""How many replicas an engine has: more when requests wait too long in them, fewer when fewer do, none when nobody uses it.

`ByQueueAge` runs in Ray Serve's controller, which applies the bounds and the delays of a deployment's autoscaling settings
to what it answers. Where an engine has no replica, Ray Serve starts one at the first request without asking it.
"""

from __future__ import annotations

import math
from typing import Any, Final

from serve.engines.replica_load import IDLE_SECS, QUEUE_SECS

POLICY: Final = "serve.engines.replica_scaling:ByQueueAge"
_MOST_GROWTH: Final = 2.0
"""Factor by which replicas are multiplied at once: the age of a queue says little about a load that is far too large."""


class ByQueueAge:
    """The number of replicas of one engine.

    ``fewest``: replicas while it is used. ``queue_secs``: age of the oldest waiting request that is accepted. ``busy``:
    requests that keep a replica busy. ``idle_secs``: time without use after which it needs no replica; 0: never.
    """

    def __init__(self, fewest: int, queue_secs: float, busy: int, idle_secs: float) -> None:
        self._fewest = fewest
        self._queue_secs = queue_secs
        self._busy = busy
        self._idle_secs = idle_secs

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """(replicas, state) for Ray Serve's AutoscalingContext."""
        running: int = context.current_num_replicas
        aim: int = context.target_num_replicas
        if running == 0:
            return aim, {}
        unused = _newest(context, IDLE_SECS)
        if self._idle_secs and len(unused) == running and min(unused) >= self._idle_secs:
            return 0, {}
        oldest_secs = max(_newest(context, QUEUE_SECS), default=0.0)
        if oldest_secs > self._queue_secs:
            # The oldest request has waited for the whole queue to be served, so that its age shrinks with more replicas.
            growth = min(oldest_secs / self._queue_secs, _MOST_GROWTH)
            return max(aim, self._fewest, math.ceil(running * growth)), {}
        needed = math.ceil(context.total_num_requests / self._busy)
        if oldest_secs > self._queue_secs / 2:  # With fewer replicas it would soon be too old.
            needed = aim
        return max(self._fewest, min(needed, aim)), {}


def _newest(context: Any, name: str) -> list[float]:
    """The last value that each running replica reported."""
    return [series[-1].value for series in context.raw_metrics.get(name, {}).values() if series]
