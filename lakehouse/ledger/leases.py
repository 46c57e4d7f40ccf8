"""Who works on what until when. Leases live in memory; the token is in the job's ``processing`` event as well.

A lease counts against its holder only while the holder could speak: behind a gateway that is away nobody can renew, so
that time is not counted, and a holder that never said a word may never have heard that it holds anything.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from lakehouse.ledger.clock import Clock
from schemas.errors import Conflict

_LEAST_FIRST_WORD_SECS = 2.0
"""A machine under load may take so long between an answer and the next question."""


def new_lease(worker: str) -> str:
    """An unguessable token that still tells people which worker it was given to."""
    return f"{worker}.{secrets.token_urlsafe(24)}"


@dataclass(slots=True)
class _Lease:
    token: str
    ends: float
    taken_up: bool


class Leases:
    """Leases by job id, measured by the monotonic clock: a jump of the time of day neither ends nor extends one.

    ``attended``: time counts only as far as `attend` is called, by whom workers speak through. After more than
    `silence_secs` without it every lease has its whole time again.
    """

    def __init__(self, clock: Clock, lease_secs: float, *, attended: bool = False) -> None:
        self._clock = clock
        self._lease_secs = lease_secs
        self._leases: dict[int, _Lease] = {}
        self._attended_at = clock.monotonic() if attended else None

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def silence_secs(self) -> float:
        """As long as a holder waits from one renewal to the next: a shorter silence costs it one of three at most."""
        return self._lease_secs / 3

    @property
    def first_word_secs(self) -> float:
        """How long whoever was given a job may take to say so, when it has nothing to do before that."""
        return min(self._lease_secs, max(self._lease_secs / 3, _LEAST_FIRST_WORD_SECS))

    def attend(self) -> None:
        """Workers can speak now."""
        if self._attended_at is None:
            return
        now = self._clock.monotonic()
        if now - self._attended_at > self.silence_secs:
            for lease in self._leases.values():
                lease.ends = max(lease.ends, now + self._lease_secs)
        self._attended_at = now

    def grant(self, job_id: int, token: str, secs: float | None = None) -> None:
        """A lease of ``secs``, the usual time if None, that its holder has not taken up yet."""
        ends = self._clock.monotonic() + (self._lease_secs if secs is None else secs)
        self._leases[job_id] = _Lease(token, ends, taken_up=False)

    def renew(self, job_id: int, token: str) -> None:
        """Raises Conflict if the lease is not held. One that ran out but was not taken back yet is still held."""
        lease = self._leases.get(job_id)
        if lease is None or not secrets.compare_digest(lease.token.encode(), token.encode()):
            raise Conflict(f"the lease on job {job_id} is lost", code="lease_lost")
        lease.ends = self._clock.monotonic() + self._lease_secs
        lease.taken_up = True

    def take_up(self, job_id: int, token: str) -> None:
        """A word of the holder's: the first one extends the lease, later ones do not. Raises as `renew` does."""
        lease = self._leases.get(job_id)
        if lease is None or not lease.taken_up:
            self.renew(job_id, token)

    def take_up_all(self) -> None:
        """Of leases as they were recorded nobody knows whether their holders spoke: all count, from now."""
        for job_id, lease in self._leases.items():
            self.renew(job_id, lease.token)

    def drop(self, job_id: int) -> None:
        self._leases.pop(job_id, None)

    def ended(self, job_id: int, token: str) -> bool:
        """Whether this very lease has run out."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.token == token and self._counted() >= lease.ends

    def was_taken_up(self, job_id: int) -> bool:
        """Whether the holder of a job's lease has said a word: if not, what it was given may never have reached it."""
        lease = self._leases.get(job_id)
        return lease is not None and lease.taken_up

    def left(self, job_id: int) -> float:
        """Seconds until the lease on a job runs out; 0 if there is none."""
        lease = self._leases.get(job_id)
        return 0.0 if lease is None else max(0.0, lease.ends - self._clock.monotonic())

    def all_ended(self) -> list[tuple[int, str]]:
        """(job id, token) of every lease that ran out."""
        now = self._counted()
        return [(job_id, lease.token) for job_id, lease in self._leases.items() if now >= lease.ends]

    def _counted(self) -> float:
        return self._clock.monotonic() if self._attended_at is None else self._attended_at
