"""Erases all data of an account. Each step may be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from lakehouse.ledger.api_keys import ApiKeys
from lakehouse.ledger.archives.service import ArchiveService
from lakehouse.ledger.job_deletion import JobDeletion
from lakehouse.ledger.record_erasure import RecordEraser
from lakehouse.ledger.records import Records
from lakehouse.shared_files import erase_shared
from lakehouse.storage.objects import Objects, account_folder
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.predicates import quoted

ACCOUNT_FOLDERS: Final = ("audio", "results", "playback", "conversations", "renders", "voices")
"""Folders of objects that have a folder for each account."""
_ROWS: Final = ("voices", "voice_consents", "speakers", "webhook_deliveries", "webhooks", "archive_files", "archives")
"""Tables whose rows are also held in memory. The parts that hold them must forget them first."""


class HoldsAccountRows(Protocol):
    """A part that holds rows of accounts in memory."""

    def forget(self, account: str) -> None:
        """Drop an account's rows from memory, because they are erased next."""


class AccountEraser:
    """Revokes keys, stops jobs and conversations, and erases rows and objects.

    The account must be closed for writes before.
    """

    def __init__(
        self,
        writers: Mapping[str, TableWriter],
        objects: Objects,
        keys: ApiKeys,
        archives: ArchiveService,
        jobs: JobDeletion,
        live: Records,
        records: RecordEraser,
        in_memory: Sequence[HoldsAccountRows],
    ) -> None:
        self._writers = writers
        self._objects = objects
        self._keys = keys
        self._archives = archives
        self._jobs = jobs
        self._live = live
        self._records = records
        self._in_memory = in_memory

    def check(self, account: str) -> None:
        """Raises Conflict(code="operator_account") for an account whose keys the platform itself uses."""
        self._keys.check_ordinary(account)

    async def erase(self, account: str) -> None:
        """Erase everything except audit events and the hashes of revoked keys. Raises Unavailable."""
        await self._keys.revoke_all(account)
        await self._archives.forget(account)
        await self._jobs.delete_all(account)
        self._live.forget(account)
        await self._records.account(account)
        for part in self._in_memory:
            part.forget(account)
        for table in _ROWS:
            await self._writers[table].delete(f"account = {quoted(account)}")
        for folder in ACCOUNT_FOLDERS:
            async for key, _ in self._objects.list(f"{folder}/{account_folder(account)}"):
                await self._objects.delete(key)
        await erase_shared(self._objects, [account])
