"""Engine time of a request, measured in the replica."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from schemas.domain import Slot
from schemas.speech_engines import Timed
from telemetry.metrics import count_engine

P = ParamSpec("P")
T = TypeVar("T")


def timed(slot: Slot, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Timed[T]:
    """The result of ``work``, done by the engine of ``slot``, with its wall time, s. Raises as ``work`` does."""
    began = time.perf_counter()
    value = work(*args, **kwargs)
    found = Timed(value, time.perf_counter() - began)
    count_engine(slot, found.engine_secs)
    return found
