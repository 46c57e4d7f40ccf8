"""Erases the rows and objects of deleted jobs. Each step may be repeated, so a crash between two steps does no harm.

Older versions of the tables still hold the rows, in files that the next vacuum removes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from lakehouse.ledger.archives.store import ArchiveStore
from lakehouse.ledger.job_lookup import JobLookup
from lakehouse.ledger.object_guard import ObjectGuard
from lakehouse.shared_files import erase_shared
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import job_keys
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.predicates import quoted
from lakehouse.tables.table_reader import EventReader
from schemas.domain import Job


class Eraser:
    """Erases deleted jobs from the object store and from every table with rows of jobs."""

    def __init__(
        self,
        writers: Mapping[str, TableWriter],
        objects: Objects,
        guard: ObjectGuard,
        lookup: JobLookup,
        archives: ArchiveStore,
    ) -> None:
        self._writers = writers
        self._objects = objects
        self._guard = guard
        self._lookup = lookup
        self._archives = archives
        self._events = EventReader(writers["job_events"].reader())

    async def erase(self, jobs: Sequence[Job]) -> None:
        """Erase all data of ``jobs`` except their deletion events. Raises Unavailable when a table cannot be written."""
        by_account: dict[str, list[int]] = {}
        for job in jobs:
            by_account.setdefault(job.account, []).append(job.id)
        # The condition on the account prunes files that are sorted by account; the ids prune files in order of time.
        rows = " OR ".join(
            f"(account = {quoted(a)} AND id IN ({', '.join(map(str, ids))}))" for a, ids in by_account.items()
        )
        # Objects first, because the rows name the objects of earlier revisions and the leases.
        ids = [job.id for job in jobs]
        leases = await asyncio.to_thread(self._events.leases, ids, self._writers["job_events"].version)
        for job in jobs:
            await self._guard.erase(job.audio_key, partial(self._unneeded_objects, job, leases.get(job.id, [])))
        for name in ("segments", "transcriptions"):
            await self._writers[name].delete(rows)
        await erase_shared(self._objects, by_account)
        if await self._archives.tombstones(ids):
            await self._writers["archive_files"].delete(f"transcription_id IN ({', '.join(map(str, ids))})")
        # Events last: a ledger that is opened again projects the jobs from these rows.
        await self._writers["job_events"].delete(f"({rows}) AND status <> 'deleted'")

    async def _unneeded_objects(self, job: Job, leases: Sequence[str]) -> set[str]:
        """Keys of objects that only a deleted job needed, in any of its revisions, and that were written under its leases.

        Other jobs of its account may need the same objects: the same recording was sent more than once.
        """
        found = await self._lookup.matching(job.account, pl.col("sha256") == job.sha256)
        own = job_keys(job, leases).union(*(job_keys(j) for j in found if j.id == job.id))
        return own.difference(*(job_keys(j) for j in found if j.sha256 == job.sha256 and not self._lookup.is_gone(j)))
