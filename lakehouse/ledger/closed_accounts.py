"""Accounts that were just deleted. Uploads, renders and conversations that began before must not be written."""

from __future__ import annotations

import datetime as dt
from typing import Final

from lakehouse.ledger.clock import Clock
from schemas.errors import Forbidden

CLOSED_FOR: Final = dt.timedelta(hours=2)
"""Longer than an upload, a render or a conversation may take. Afterwards the account's name can be used again."""


class ClosedAccounts:
    """In memory; the table ``deletions`` has the times."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, dt.datetime] = {}

    def close(self, account: str, since: dt.datetime) -> None:
        """Refuse writes for the account from now on, until `CLOSED_FOR` after ``since``."""
        self._until[account] = since + CLOSED_FOR

    def has(self, account: str) -> bool:
        """Whether writes for the account are refused."""
        until = self._until.get(account)
        return until is not None and self._clock.utc() < until

    def check(self, account: str) -> None:
        """Raises Forbidden(code="account_deleted") for a closed account."""
        if self.has(account):
            raise Forbidden("this account was deleted; it can be used again after two hours", code="account_deleted")
