"""Commits that are in the table although they were reported as failed: what is sent again stays one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.archives import FileStatus
from schemas.errors import Unavailable
from tests.integration.test_archive_ledger import opened
from tests.support.archive_kit import source
from tests.support.lakehouse_kit import commits_of_unknown_end, home, read_jobs

pytestmark = pytest.mark.integration


async def test_a_file_that_is_begun_again_after_a_commit_of_unknown_end_is_one_transcription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home(tmp_path)) as (ledger, worker):
        with commits_of_unknown_end(monkeypatch), pytest.raises(Unavailable):
            await worker.begin(source("a"))
        (begun,) = await worker.begin(source("a"))
        assert begun.lease is not None
        end = await worker.end(begun, "the one reading")
        (done,) = await ledger.archives.finish_files(worker.archive.id, [end])
        assert done.status is FileStatus.COMPLETED
        total, jobs = await read_jobs(ledger, "ada", 10, 0)
        assert (total, [job.id for job in jobs]) == (1, [begun.lease.job_id])
        assert (await ledger.archives.find(worker.archive.id)).counts.completed == 1
