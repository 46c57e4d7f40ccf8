"""Who works on what until when. Leases live in memory; the token is in the job's ``processing`` event as well."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from lakehouse.ledger.clock import Clock
from schemas.errors import Conflict


def new_lease(worker: str) -> str:
    """An unguessable token that still tells people which worker it was given to."""
    return f"{worker}.{secrets.token_urlsafe(24)}"


@dataclass(slots=True)
class _Lease:
    token: str
    ends: float


class Leases:
    """Leases by job id, measured by the monotonic clock: a jump of the time of day neither ends nor extends one."""

    def __init__(self, clock: Clock, lease_secs: float) -> None:
        self._clock = clock
        self._lease_secs = lease_secs
        self._leases: dict[int, _Lease] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, job_id: int, token: str) -> None:
        self._leases[job_id] = _Lease(token, self._clock.monotonic() + self._lease_secs)

    def renew(self, job_id: int, token: str) -> None:
        """Raises Conflict if the lease is not held. One that ran out but was not taken back yet is still held."""
        lease = self._leases.get(job_id)
        if lease is None or not secrets.compare_digest(lease.token.encode(), token.encode()):
            raise Conflict(f"the lease on job {job_id} is lost", code="lease_lost")
        lease.ends = self._clock.monotonic() + self._lease_secs

    def drop(self, job_id: int) -> None:
        self._leases.pop(job_id, None)

    def ended(self, job_id: int, token: str) -> bool:
        """Whether this very lease has run out."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.token == token and self._clock.monotonic() >= lease.ends

    def left(self, job_id: int) -> float:
        """Seconds until the lease on a job runs out; 0 if there is none."""
        lease = self._leases.get(job_id)
        return 0.0 if lease is None else max(0.0, lease.ends - self._clock.monotonic())

    def all_ended(self) -> list[tuple[int, str]]:
        """(job id, token) of every lease that ran out."""
        now = self._clock.monotonic()
        return [(job_id, lease.token) for job_id, lease in self._leases.items() if now >= lease.ends]
