"""Adds finished jobs from another system."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl

from lakehouse.ledger.change_tasks import ChangeTasks
from lakehouse.ledger.interface import Recorded
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.job_store import JobStore
from schemas.domain import Job


class JobImport:
    """Imports jobs known by their ``import_key``. The contract is `JobLedger`."""

    def __init__(self, tasks: ChangeTasks, store: JobStore, lookup: JobLookup) -> None:
        self._tasks = tasks
        self._store = store
        self._lookup = lookup
        self._lock = asyncio.Lock()

    async def known_imports(self, account: str, keys: Collection[str]) -> set[str]:
        """See `JobLedger.known_imports`."""
        if not keys:
            return set()
        found = await self._lookup.matching(account, pl.col("import_key").is_in(list(keys)))
        known = {job.import_key for job in found if job.import_key is not None and not self._lookup.is_gone(job)}
        return known & set(keys)

    async def import_finished(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        """See `JobLedger.import_finished`."""
        return await self._tasks.run(self._import(account, finished))

    async def _import(self, account: str, finished: Sequence[Job]) -> list[Recorded]:
        async with self._lock:
            known = await self.known_imports(account, {job.import_key for job in finished if job.import_key})
            new: list[Job] = []
            answers: list[Recorded] = []
            for job in finished:
                if job.import_key in known:
                    answers.append((0, False))
                    continue
                new.append(replace(job, id=self._store.next_id()[0], account=account))
                answers.append((new[-1].id, True))
                if job.import_key:
                    known.add(job.import_key)
            for seq, job in await self._store.commit(new):
                self._store.apply_committed(seq, job)
            return answers
