"""The busiest hour of a plan, event by event: Poisson arrivals, lengths that vary, nodes and one ledger or several."""

from __future__ import annotations

import heapq
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from benchmarks.capacity.costs import Costs, Node
from benchmarks.capacity.model import Load

_SPREAD: Final = 0.8
"""Standard deviation of the logarithm of a recording's length."""


@dataclass(frozen=True, slots=True)
class Hour:
    """The results of the simulated hour."""

    recordings: int
    wait_p95_secs: float
    """Wait from submission to the start on a node, including the ledger."""
    ledger_wait_p95_secs: float
    unfinished: int
    """Recordings that had not begun when the hour was over."""
    nodes_busy_share: float
    ledger_busy_share: float

    def to_json(self) -> dict[str, Any]:
        """All values by name."""
        return asdict(self)


def simulate(
    load: Load, costs: Costs, node: Node, nodes: int, ledgers: int = 1, seed: int = 7, secs: float = 3600.0
) -> Hour:
    """Run ``secs`` of the busiest hour. Each job passes its account's ledger, then waits for a node.

    Lengths of recordings are log-normal around the load's mean. A ledger takes the inverse of its measured rate for a job.
    """
    random = np.random.default_rng(seed)
    rate = load.peak_recordings_per_sec
    arrivals = np.cumsum(random.exponential(1 / rate, size=random.poisson(rate * secs)))
    mean_secs = load.minutes_per_recording * 60
    lengths = random.lognormal(np.log(mean_secs) - _SPREAD**2 / 2, _SPREAD, arrivals.size)
    services = lengths / node.audio_secs_per_sec + costs.secs_per_recording.value
    shards = random.integers(0, ledgers, arrivals.size)
    each = 1 / costs.ledger.jobs_per_sec
    ledger_free, free = [0.0] * ledgers, [0.0] * nodes
    waits, ledger_waits = np.empty(arrivals.size), np.empty(arrivals.size)
    busy, unfinished = 0.0, 0
    for number, (at, service, shard) in enumerate(zip(arrivals.tolist(), services.tolist(), shards.tolist(), strict=True)):
        accepted = max(at, ledger_free[shard]) + each
        ledger_free[shard] = accepted
        start = max(accepted, heapq.heappop(free))
        heapq.heappush(free, start + service)
        ledger_waits[number], waits[number] = accepted - at, start - at
        busy += max(0.0, min(start + service, secs) - min(start, secs))
        unfinished += start > secs
    return Hour(
        recordings=arrivals.size,
        wait_p95_secs=float(np.quantile(waits, 0.95)),
        ledger_wait_p95_secs=float(np.quantile(ledger_waits, 0.95)),
        unfinished=unfinished,
        nodes_busy_share=busy / (nodes * secs),
        ledger_busy_share=min(1.0, arrivals.size * each / (ledgers * secs)),
    )
