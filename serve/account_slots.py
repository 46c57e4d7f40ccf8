"""How many uploads, downloads or sessions a gateway has at once, and how many of them an account may have.

Each holds some memory and competes for the disk or the engines. Without a bound, ten times the load makes all clients wait
ten times as long, also those whose request would be taken (Nygard, Release It!, 2nd ed. 2018: shed load, do not queue).

An account gets another slot while it has fewer than ``share`` times as many as are free. With 1, one alone can hold half of
them with slow clients or slow servers, n accounts 1/(n + 1) each, and as many are free for others (dynamic thresholds:
Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from schemas.domain import Seconds
from schemas.errors import Unavailable
from serve.rate_limits import over_limit

_RETRY_SECS: Final[Seconds] = 1.0
SESSION_SHARE: Final = 4
"""For sessions, which end by themselves: one account may have four fifths of them."""


class AccountSlots:
    """Used on one event loop."""

    def __init__(self, most: int, what: str, share: int = 1) -> None:
        """``what`` is in the slots, in the plural."""
        self._share = share
        self._most = most
        self._what = what
        self._taken: Counter[str] = Counter()

    @contextmanager
    def slot(self, account: str) -> Iterator[None]:
        """Held by an account. Raises Unavailable(code="overloaded") if all are taken, RateLimited if it has its share."""
        free = self._most - self._taken.total()
        if free <= 0:
            raise Unavailable(
                f"{self._most} {self._what} are under way, as many as this server takes at once; try again in a moment",
                code="overloaded",
                retry_after_secs=_RETRY_SECS,
            )
        own = self._taken[account]
        if own >= self._share * free:
            raise over_limit(f"{own} {self._what} at once of this account, its share at present,", _RETRY_SECS, own)
        self._taken[account] += 1
        try:
            yield
        finally:
            self._taken[account] -= 1
            self._taken = +self._taken  # without accounts that have none
