"""Erasing what a deleted job left in tables and objects. Each step may be repeated: a crash between is harmless.

Older versions of the tables still hold the rows, in files that maintenance vacuums.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from lakehouse.commits import TableWriter
from lakehouse.objects import Objects
from lakehouse.results import job_keys
from schemas.domain import Job


class Eraser:
    """``shared`` gives the objects of a job that others need as well."""

    def __init__(
        self, writers: dict[str, TableWriter], objects: Objects, shared: Callable[[Job], Awaitable[set[str]]]
    ) -> None:
        self._writers = writers
        self._objects = objects
        self._shared = shared

    async def erase(self, jobs: Sequence[Job]) -> None:
        """Everything of deleted jobs but the events that say so. Raises Unavailable when a table cannot be written."""
        by_account: dict[str, list[int]] = {}
        for job in jobs:
            by_account.setdefault(job.account, []).append(job.id)
        # The account prunes files sorted by it, the ids those in order of time.
        mine = " OR ".join(
            f"(account = {_quoted(a)} AND id IN ({', '.join(map(str, ids))}))" for a, ids in by_account.items()
        )
        for name in ("segments", "transcriptions"):
            await self._writers[name].delete(mine)
        for job in jobs:
            for key in job_keys(job) - await self._shared(job):
                await self._objects.delete(key)
        # Last, for these rows are what a ledger that starts again would project.
        await self._writers["job_events"].delete(f"({mine}) AND status <> 'deleted'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
