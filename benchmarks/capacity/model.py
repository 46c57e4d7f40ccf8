"""Nodes, storage and money for a load, by queueing theory over measured costs. `docs/capacity.md` has the formulas."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.capacity.costs import Costs, Node
from benchmarks.storage.ledger_jobs import result_bytes_per_audio_hour
from schemas.errors import InvalidParameter

DAYS_PER_MONTH: Final = 365.25 / 12
PLAYBACK_BYTES_PER_HOUR: Final = 32_000 // 8 * 3600
"""The playback copy: Ogg Opus at 32 kbit/s (`audio.encode`), without its headers."""
_MOST_NODES: Final = 1_000_000
_LEDGER_SHARE: Final = 0.7
"""Largest share of a ledger's measured rate at peak: above it, acknowledgements wait for each other."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load to plan for. ``peak`` is the busiest hour divided by the mean; ``p95_secs`` bounds the wait for a node."""

    hours_per_day: float
    minutes_per_recording: float
    peak: float
    p95_secs: float
    upload_kbit_per_sec: float
    """Bit rate of the recordings as clients send them."""
    keeps_originals: bool

    @property
    def peak_recordings_per_sec(self) -> float:
        """Arrivals in the busiest hour."""
        return self.hours_per_day / 24 * self.peak / (self.minutes_per_recording / 60) / 3600


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices, USD; None for an unknown price."""

    node_hour: float | None = None
    gb_month: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The resources that a load needs."""

    hours_per_month: float
    peak_recordings_per_sec: float
    service_secs: float
    """Time of one recording on a node."""
    nodes: int
    gpus: int
    busy_share: float
    """Share of the time in which a node works, in the busiest hour."""
    wait_p95_secs: float
    storage_gb_per_month: float
    """Storage added in a month."""
    ledger_share: float
    """Arrivals at peak, as a share of the measured rate of one ledger."""
    ledgers: int
    first_bottleneck: str
    usd_nodes: float | None
    usd_storage: float | None
    """Cost, in the following month, of the storage that one month adds."""

    def to_json(self) -> dict[str, Any]:
        """All values by name."""
        return asdict(self)


def plan(load: Load, costs: Costs, node: Node, prices: Prices | None = None) -> Plan:
    """The least nodes that keep the wait. Raises InvalidParameter for a load that takes more than a million nodes."""
    prices = prices or Prices()
    service = load.minutes_per_recording * 60 / node.audio_secs_per_sec + costs.secs_per_recording.value
    rate = load.peak_recordings_per_sec
    nodes = least_nodes(rate, service, load.p95_secs)
    month_hours = load.hours_per_day * DAYS_PER_MONTH
    upload = load.upload_kbit_per_sec * 1000 / 8 * 3600 if load.keeps_originals else 0.0
    stored = month_hours * (upload + PLAYBACK_BYTES_PER_HOUR + result_bytes_per_audio_hour()) / 1e9
    ledger = rate / costs.ledger.jobs_per_sec
    return Plan(
        hours_per_month=month_hours,
        peak_recordings_per_sec=rate,
        service_secs=service,
        nodes=nodes,
        gpus=nodes * node.gpus,
        busy_share=rate * service / nodes,
        wait_p95_secs=wait_p95_secs(rate, service, nodes),
        storage_gb_per_month=stored,
        ledger_share=ledger,
        ledgers=max(1, math.ceil(ledger / _LEDGER_SHARE)),
        first_bottleneck="one ledger" if ledger > _LEDGER_SHARE else "none: nodes are added",
        usd_nodes=None if prices.node_hour is None else nodes * prices.node_hour * 24 * DAYS_PER_MONTH,
        usd_storage=None if prices.gb_month is None else stored * prices.gb_month,
    )


def least_nodes(rate: float, service: float, p95_secs: float) -> int:
    """The least number of nodes whose p95 wait is at most ``p95_secs``. Raises InvalidParameter above a million."""
    low = max(1, math.floor(rate * service) + 1)
    high = low
    while high <= _MOST_NODES and wait_p95_secs(rate, service, high) > p95_secs:
        high *= 2
    if high > _MOST_NODES:
        raise InvalidParameter(f"a p95 of {p95_secs:g} s takes more than a million nodes", param="p95")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wait_p95_secs(rate, service, middle) <= p95_secs else (middle + 1, high)
    return low


def wait_p95_secs(rate: float, service: float, nodes: int) -> float:
    """95th percentile of the wait in a queue of Poisson arrivals before ``nodes`` servers of exponential times (M/M/c)."""
    offered = rate * service
    if offered >= nodes:
        return math.inf
    waiting = erlang_c(offered, nodes)
    return 0.0 if waiting <= 0.05 else math.log(waiting / 0.05) * service / (nodes - offered)


def erlang_c(offered: float, nodes: int) -> float:
    """Probability that an arrival waits, for ``offered`` < ``nodes`` erlangs; by the recurrence of Erlang B."""
    blocked = 1.0
    for number in range(1, nodes + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - offered / nodes * (1 - blocked))
