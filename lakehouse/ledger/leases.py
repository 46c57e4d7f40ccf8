"""Leases: which worker processes which job, and until when.

They are in memory; a lease's token is also in the job's ``processing`` event. Workers reach the ledger through the
gateway. While the gateway is down nobody can renew a lease, so that time does not count. A worker that made no request
under a lease may never have received the claim, so a lease that expires unused does not count as an attempt.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from lakehouse.ledger.clock import Clock
from schemas.domain import Seconds
from schemas.errors import Conflict

_MIN_FIRST_USE_SECS = 2.0
"""On a loaded machine a worker may take this long between receiving a claim and its first request."""


def new_lease(worker: str) -> str:
    """An unguessable token. It starts with the worker's name, for readers of logs."""
    return f"{worker}.{secrets.token_urlsafe(24)}"


@dataclass(slots=True)
class _Lease:
    token: str
    ends: float
    is_used: bool


class Leases:
    """Leases by job id, on the monotonic clock: a jump of the wall clock neither ends nor extends one.

    With ``behind_gateway``, time counts only up to the last `gateway_alive`. After more than `max_silence_secs` without
    that call every lease gets its full time again.
    """

    def __init__(self, clock: Clock, lease_secs: Seconds, *, behind_gateway: bool = False) -> None:
        self._clock = clock
        self._lease_secs = lease_secs
        self._leases: dict[int, _Lease] = {}
        self._gateway_alive_at = clock.monotonic() if behind_gateway else None

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._leases

    @property
    def max_silence_secs(self) -> Seconds:
        """The time between two renewals of a worker. A shorter silence costs a worker at most one of three renewals."""
        return self._lease_secs / 3

    @property
    def first_use_secs(self) -> Seconds:
        """Time until the first request under a lease, for a worker that makes this request as soon as it has the
        claim.
        """
        return min(self._lease_secs, max(self._lease_secs / 3, _MIN_FIRST_USE_SECS))

    def gateway_alive(self) -> None:
        """Count time up to now; without ``behind_gateway``, nothing."""
        if self._gateway_alive_at is None:
            return
        now = self._clock.monotonic()
        if now - self._gateway_alive_at > self.max_silence_secs:
            for lease in self._leases.values():
                lease.ends = max(lease.ends, now + self._lease_secs)
        self._gateway_alive_at = now

    def grant(self, job_id: int, token: str, secs: Seconds | None = None) -> None:
        """Lease a job, unused so far, for ``secs``; None for the usual time."""
        ends = self._clock.monotonic() + (self._lease_secs if secs is None else secs)
        self._leases[job_id] = _Lease(token, ends, is_used=False)

    def renew(self, job_id: int, token: str, *, working: bool = True) -> None:
        """Extend a lease by the usual time from now.

        A lease that expired but was not revoked yet is still held. Without ``working`` the job still waits at the worker,
        and an unused lease stays unused. Raises Conflict(code="lease_lost").
        """
        lease = self._leases.get(job_id)
        if lease is None or not secrets.compare_digest(lease.token.encode(), token.encode()):
            raise Conflict(f"the lease on job {job_id} is lost", code="lease_lost")
        lease.ends = self._clock.monotonic() + self._lease_secs
        lease.is_used = lease.is_used or working

    def record_use(self, job_id: int, token: str) -> None:
        """Record a request under a lease: the first request extends the lease, later ones do not.

        Raises as `renew` does.
        """
        lease = self._leases.get(job_id)
        if lease is None or not lease.is_used:
            self.renew(job_id, token)

    def renew_all(self) -> None:
        """Extend every lease, and count it as used: after a restart it is unknown which leases were used."""
        for job_id, lease in self._leases.items():
            self.renew(job_id, lease.token)

    def drop(self, job_id: int) -> None:
        """End a job's lease, if it has one."""
        self._leases.pop(job_id, None)

    def is_expired(self, job_id: int, token: str) -> bool:
        """Whether the job has this lease, and the lease expired."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.token == token and self._counted() >= lease.ends

    def was_used(self, job_id: int) -> bool:
        """Whether a request was made under the job's lease."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.is_used

    def left(self, job_id: int) -> Seconds:
        """Time until the job's lease expires; 0 if it has none."""
        lease = self._leases.get(job_id)
        return 0.0 if lease is None else max(0.0, lease.ends - self._clock.monotonic())

    def all_expired(self) -> list[tuple[int, str]]:
        """(job id, token) of every lease that expired."""
        now = self._counted()
        return [(job_id, lease.token) for job_id, lease in self._leases.items() if now >= lease.ends]

    def _counted(self) -> float:
        return self._clock.monotonic() if self._gateway_alive_at is None else self._gateway_alive_at
