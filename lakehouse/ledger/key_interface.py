"""The ledger's interface for API keys, a part of `lakehouse.ledger.interface.LedgerClient`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from schemas.domain import Seconds
from schemas.records import ApiKey


class KeyLedger(Protocol):
    """API keys. Only their SHA-256 hashes are stored."""

    async def create(
        self,
        account: str,
        name: str,
        scopes: Sequence[str],
        key: str | None = None,
        expires_at: dt.datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A key and its plaintext, which is not stored. Without ``key`` each call creates a new one.

        Raises InvalidParameter for an unknown scope or a malformed ``key``, Conflict if ``key`` was revoked or belongs to
        another account.
        """

    async def all(self) -> list[ApiKey]:
        """All keys, including revoked ones, oldest first."""

    async def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key. Raises NotFound."""

    async def rotate(self, key_id: str, grace_secs: Seconds) -> tuple[ApiKey, str]:
        """A key with the same rights; the old one expires after ``grace_secs``. Raises NotFound, Conflict."""

    async def find(self, key_hash: str) -> ApiKey | None:
        """The key with this SHA-256 (hex), unless it is unknown, revoked or expired."""

    async def find_id(self, key_id: str) -> ApiKey | None:
        """The key with this id, unless it is unknown, revoked or expired."""

    async def closed(self, key_ids: Collection[str], accounts: Collection[str]) -> tuple[set[str], set[str]]:
        """Those of the keys that are unknown, revoked or expired, and those of the accounts that were just deleted."""

    async def has_key(self, account: str) -> bool:
        """Whether a key of this account was ever made, including revoked and expired keys."""

    async def used(self, moments: Mapping[str, dt.datetime]) -> None:
        """Record when keys were last used, by id; at most once an hour per key."""
