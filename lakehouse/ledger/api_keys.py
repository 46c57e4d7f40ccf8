"""API keys. A key is shown once, when it is made; only its SHA-256 hash is stored."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.clock import Clock, IncreasingTimes
from lakehouse.ledger.closed_accounts import ClosedAccounts
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.row_mapping import key_from_row, key_row
from schemas.domain import Seconds
from schemas.errors import Conflict, InvalidParameter, NotFound
from schemas.records import KEY_ID, ApiKey
from schemas.scopes import ADMIN, OPERATOR, SCOPES, granted

KEY_BYTES = 32
PREFIX_CHARS = 8
ENDING_CHARS = 4
_USE_NOTED = dt.timedelta(hours=1)


def new_key() -> str:
    """A random key of 256 bits."""
    return "fx_" + secrets.token_urlsafe(KEY_BYTES)


def hash_key(plaintext: str) -> str:
    """SHA-256 of a key, hex. A key has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(plaintext.encode()).hexdigest()


class ApiKeys:
    """All keys, in memory; ``api_keys`` has a row for each state of each. The contract is `KeyLedger`."""

    def __init__(self, writer: TableWriter, clock: Clock, tasks: ChangeTasks, closed: ClosedAccounts) -> None:
        self._closed = closed
        self._writer = writer
        self._clock = clock
        self._tasks = tasks
        self._by_id: dict[str, ApiKey] = {}
        self._by_hash: dict[str, ApiKey] = {}
        self._lock = asyncio.Lock()
        self._times = IncreasingTimes(clock)

    async def load(self) -> None:
        """Read all keys from the table."""
        frame = await asyncio.to_thread(self._writer.reader().collect, lambda table: table, self._writer.version)
        # A key has at most two states without `updated_at`, and the revoked state is the later one.
        for row in frame.sort("updated_at", "revoked_at", nulls_last=False).iter_rows(named=True):
            self._remember(key_from_row(row))

    async def create(
        self,
        account: str,
        name: str,
        scopes: Sequence[str],
        key: str | None = None,
        expires_at: dt.datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """See `KeyLedger.create`."""
        return await self._tasks.run(self._create(account, name, scopes, key, expires_at))

    async def all(self) -> list[ApiKey]:
        """See `KeyLedger.all`."""
        return sorted(self._by_id.values(), key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str) -> ApiKey:
        """See `KeyLedger.revoke`."""
        return await self._tasks.run(self._revoke(key_id))

    def check_ordinary(self, account: str) -> None:
        """Raises Conflict(code="operator_account") for an account with an open key of scope operator or admin."""
        now = self._clock.utc()
        own = [key for key in self._by_id.values() if key.account == account and key.is_open(now)]
        if any({OPERATOR, ADMIN} & granted(key.scopes) for key in own):
            raise Conflict(
                f"the account {account} has keys of operators; revoke them first", code="operator_account", param="account"
            )

    async def revoke_all(self, account: str) -> None:
        """Revoke all keys of an account."""
        for key in [one for one in self._by_id.values() if one.account == account]:
            await self.revoke(key.id)

    async def rotate(self, key_id: str, grace_secs: Seconds) -> tuple[ApiKey, str]:
        """See `KeyLedger.rotate`."""
        return await self._tasks.run(self._rotate(key_id, grace_secs))

    async def find(self, key_hash: str) -> ApiKey | None:
        """See `KeyLedger.find`. Comparing in constant time is not needed: nobody can choose the hash of a key."""
        return self._open(self._by_hash.get(key_hash))

    async def find_id(self, key_id: str) -> ApiKey | None:
        """See `KeyLedger.find_id`."""
        return self._open(self._by_id.get(key_id))

    async def closed(self, key_ids: Collection[str], accounts: Collection[str]) -> tuple[set[str], set[str]]:
        """See `KeyLedger.closed`."""
        keys = {key_id for key_id in key_ids if self._open(self._by_id.get(key_id)) is None}
        return keys, {account for account in accounts if self._closed.has(account)}

    async def has_key(self, account: str) -> bool:
        """See `KeyLedger.has_key`."""
        return any(key.account == account for key in self._by_id.values())

    async def used(self, moments: Mapping[str, dt.datetime]) -> None:
        """See `KeyLedger.used`."""
        await self._tasks.run(self._used(moments))

    def _open(self, key: ApiKey | None) -> ApiKey | None:
        return key if key is not None and key.is_open(self._clock.utc()) else None

    def _remember(self, key: ApiKey) -> None:
        if key.updated_at is not None:
            self._times.restore(key.updated_at)
        self._by_id[key.id] = key
        self._by_hash[key.key_hash] = key

    async def _create(
        self, account: str, name: str, scopes: Sequence[str], key: str | None, expires_at: dt.datetime | None
    ) -> tuple[ApiKey, str]:
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise InvalidParameter(f"scopes are {', '.join(SCOPES)}, at least one; not {unknown}", param="scopes")
        if key is not None and (not key.isascii() or not key.isprintable() or " " in key or not key):
            raise InvalidParameter("a key is printable ASCII without blanks", param="key")
        self._closed.check(account)
        plaintext = key or new_key()
        async with self._lock:
            found = self._by_hash.get(hash_key(plaintext))
            if found is not None:
                if found.revoked_at is not None or found.account != account:
                    raise Conflict("this key was revoked or belongs to another account; choose another", code="key_taken")
                return found, plaintext
            fresh = ApiKey(
                id=KEY_ID + secrets.token_hex(8),
                account=account,
                name=name,
                # The prefix must not reveal a short key that somebody chose.
                prefix=plaintext[: min(PREFIX_CHARS, len(plaintext) // 4)],
                key_hash=hash_key(plaintext),
                scopes=tuple(scopes),
                created_at=self._clock.utc(),
                ending=plaintext[-ENDING_CHARS:] if len(plaintext) >= 4 * ENDING_CHARS else None,
                expires_at=expires_at,
            )
            return await self._write(fresh), plaintext

    async def _revoke(self, key_id: str) -> ApiKey:
        async with self._lock:
            key = self._by_id.get(key_id)
            if key is None:
                raise NotFound(f"no key {key_id}", code="key_not_found")
            if key.revoked_at is None:
                key = await self._write(replace(key, revoked_at=self._clock.utc()))
            return key

    async def _rotate(self, key_id: str, grace_secs: Seconds) -> tuple[ApiKey, str]:
        old = self._by_id.get(key_id)
        if old is None:
            raise NotFound(f"no key {key_id}", code="key_not_found")
        if not old.is_open(self._clock.utc()):
            raise Conflict("this key was revoked or has expired; make a new one", code="key_closed")
        fresh = await self._create(old.account, old.name, old.scopes, None, None)
        async with self._lock:
            # A second rotation must not give the old key more time.
            ends_at = self._clock.utc() + dt.timedelta(seconds=grace_secs)
            latest = self._by_id[key_id]
            if latest.revoked_at is None and (latest.expires_at is None or ends_at < latest.expires_at):
                await self._write(replace(latest, expires_at=ends_at))
        return fresh

    async def _used(self, moments: Mapping[str, dt.datetime]) -> None:
        async with self._lock:
            for key_id, moment in moments.items():
                key = self._by_id.get(key_id)
                if key is not None and (key.last_used_at is None or moment - key.last_used_at > _USE_NOTED):
                    await self._write(replace(key, last_used_at=moment))

    async def _write(self, key: ApiKey) -> ApiKey:
        stated = replace(key, updated_at=self._times.next())
        await self._writer.append([key_row(stated)])
        self._remember(stated)
        return stated
