"""Reports of a ledger's maintenance."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.domain import Seconds


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """Result of a maintenance task: counts by name, and the wall time in seconds."""

    task: str
    counts: dict[str, int]
    secs: Seconds


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """Counters for status pages."""

    live_jobs: dict[str, int]
    """Jobs in memory, by status."""
    queue_length: int
    """Jobs that wait for a worker."""
    queue_oldest_secs: Seconds
    """Age of the oldest waiting job; 0 if none waits."""
    leases: int
    unleased: int
    """Processing jobs without a lease. Such a job would never end, so a number above 0 is a defect of the ledger."""
    unprojected: int
    """Finished jobs that are not in the ``transcriptions`` table yet."""
    cache_entries: int
    """Results that may answer a repeated recording."""
    tables: dict[str, int]
    """Delta version of each table."""
