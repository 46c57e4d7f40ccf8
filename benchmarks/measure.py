"""Measured numbers and their percentiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Note: TypeAlias = Callable[[str], None]
"""Shows a line of progress, which is never part of the result."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a benchmark, with its unit; ``unit`` is empty for counts and shares."""

    name: str
    value: float
    unit: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0..1) of ``values`` do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values to take a percentile of")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
