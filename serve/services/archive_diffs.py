"""What a reprocessing changed: the old and the new revision of each transcription, compared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from lakehouse.archives.reader import ArchiveReader
from lakehouse.archives.revision_diff import compare
from lakehouse.history.history import History
from lakehouse.storage.objects import Objects
from lakehouse.tables.row_mapping import job_from_row
from schemas.archives import ArchiveFile, FileDiff, FileStatus
from schemas.domain import Job

_PAGE_FILES: Final = 20


class ArchiveDiffs:
    """Compares revisions, a page of files at a time."""

    def __init__(self, archives: ArchiveReader, history: History, objects: Objects) -> None:
        self._archives = archives
        self._history = history
        self._objects = objects

    async def page(self, archive_id: int, after: str | None) -> tuple[list[FileDiff], str | None]:
        """Comparisons of the next completed files by key, and the ``after`` of the following page, None on the last."""
        done = await asyncio.to_thread(
            self._archives.files, archive_id, status=FileStatus.COMPLETED, after=after, limit=_PAGE_FILES
        )
        again = [file for file in done if file.transcription_id is not None and file.revision]
        ids = {file.transcription_id or 0 for file in again}
        revisions = await asyncio.to_thread(self._archives.revisions, ids)
        diffs = [await compare(self._objects, file, *await self._pair(file, revisions)) for file in again]
        return diffs, done[-1].key if len(done) == _PAGE_FILES else None

    async def _pair(self, file: ArchiveFile, revisions: Mapping[tuple[int, int], Job]) -> tuple[Job | None, Job | None]:
        """The revision before the run's, and the run's own, which may not be in the table yet."""
        job_id, revision = file.transcription_id or 0, file.revision or 0
        new = revisions.get((job_id, revision))
        if new is None:
            row = await self._history.get("transcriptions", file.account, job_id)
            new = job_from_row(row) if row is not None and row["revision"] == revision else None
        return revisions.get((job_id, revision - 1)), new
