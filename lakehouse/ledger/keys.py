"""API keys: made, listed, revoked, found by their hash. The key itself is shown once and stored nowhere."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace

from lakehouse.commits import TableWriter
from lakehouse.ledger.clock import Clock
from lakehouse.reads import TableReader
from lakehouse.rows import key_from_row, key_row
from schemas.domain import ApiKey
from schemas.errors import Conflict, InvalidParameter, NotFound

KEY_BYTES = 32
PREFIX_CHARS = 8
SCOPES = ("user", "operator")


def new_key() -> str:
    return "fx_" + secrets.token_urlsafe(KEY_BYTES)


def hash_key(plaintext: str) -> str:
    """SHA-256, hex. A key has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(plaintext.encode()).hexdigest()


class KeyRing:
    """All keys in memory, every state of them in ``api_keys``."""

    def __init__(self, writer: TableWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._by_id: dict[str, ApiKey] = {}
        self._by_hash: dict[str, ApiKey] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        frame = await asyncio.to_thread(TableReader(self._writer.uri).collect, lambda table: table)
        # A key has at most two states, and the revoked one is the later.
        for row in frame.sort("revoked_at", nulls_last=False).iter_rows(named=True):
            self._hold(key_from_row(row))

    def _hold(self, key: ApiKey) -> None:
        self._by_id[key.id] = key
        self._by_hash[key.key_hash] = key

    async def create(self, account: str, name: str, scopes: Sequence[str], key: str | None) -> tuple[ApiKey, str]:
        """A new key, or the one that has the given plaintext already. Raises InvalidParameter, Conflict."""
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InvalidParameter(f"scopes are {' and '.join(SCOPES)}, at least one; not {unknown}", param="scopes")
        if key is not None and (not key.isascii() or not key.isprintable() or " " in key or not key):
            raise InvalidParameter("a key is printable ASCII without blanks", param="key")
        plaintext = key or new_key()
        async with self._lock:
            found = self._by_hash.get(hash_key(plaintext))
            if found is not None:
                if found.revoked_at is not None or found.account != account:
                    raise Conflict("this key was revoked or belongs to another account; choose another", code="key_taken")
                return found, plaintext
            fresh = ApiKey(
                id="key_" + secrets.token_hex(8),
                account=account,
                name=name,
                # Of a short key chosen by hand the prefix must not give away much.
                prefix=plaintext[: min(PREFIX_CHARS, len(plaintext) // 4)],
                key_hash=hash_key(plaintext),
                scopes=tuple(scopes),
                created_at=self._clock.utc(),
            )
            await self._writer.append([key_row(fresh)])
            self._hold(fresh)
            return fresh, plaintext

    async def revoke(self, key_id: str) -> ApiKey:
        """Close a key for good; doing it again changes nothing. Raises NotFound."""
        async with self._lock:
            key = self._by_id.get(key_id)
            if key is None:
                raise NotFound(f"no key {key_id}", code="key_not_found")
            if key.revoked_at is None:
                key = replace(key, revoked_at=self._clock.utc())
                await self._writer.append([key_row(key)])
                self._hold(key)
            return key

    def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        return sorted(self._by_id.values(), key=lambda key: (key.created_at, key.id))

    def find(self, key_hash: str) -> ApiKey | None:
        """The key with this hash, unless it is revoked. A dict is safe: nobody can steer a hash towards another."""
        key = self._by_hash.get(key_hash)
        return key if key is not None and key.revoked_at is None else None
