"""Erasing what a deleted job left in tables and objects. Each step may be repeated: a crash between is harmless.

Older versions of the tables still hold the rows, in files that maintenance vacuums.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from lakehouse.commits import TableWriter
from schemas.domain import Job


class Eraser:
    """``erase_objects`` removes what a deleted job alone needed of the store.

    ``tombstones`` makes archive runs forget all of such jobs but their files' names within the run; whether any knew them.
    """

    def __init__(
        self,
        writers: dict[str, TableWriter],
        erase_objects: Callable[[Job], Awaitable[None]],
        tombstones: Callable[[Sequence[int]], Awaitable[bool]],
    ) -> None:
        self._writers = writers
        self._erase_objects = erase_objects
        self._tombstones = tombstones

    async def erase(self, jobs: Sequence[Job]) -> None:
        """Everything of deleted jobs but the events that say so. Raises Unavailable when a table cannot be written."""
        by_account: dict[str, list[int]] = {}
        for job in jobs:
            by_account.setdefault(job.account, []).append(job.id)
        # The account prunes files sorted by it, the ids those in order of time.
        mine = " OR ".join(
            f"(account = {_quoted(a)} AND id IN ({', '.join(map(str, ids))}))" for a, ids in by_account.items()
        )
        # First, for the rows name the objects of earlier revisions.
        for job in jobs:
            await self._erase_objects(job)
        for name in ("segments", "transcriptions"):
            await self._writers[name].delete(mine)
        ids = [job.id for job in jobs]
        if await self._tombstones(ids):
            await self._writers["archive_files"].delete(f"transcription_id IN ({', '.join(map(str, ids))})")
        # Last, for these rows are what a ledger that starts again would project.
        await self._writers["job_events"].delete(f"({mine}) AND status <> 'deleted'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
