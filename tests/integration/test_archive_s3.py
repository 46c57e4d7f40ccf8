"""A run and a reprocessing on a home that lies on S3; moto's server answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.archives.reader import ArchiveReader
from lakehouse.archives.revision_diff import compare
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, audio_key
from schemas.archives import ArchiveStatus, BeginState, FileStatus
from tests.integration.test_s3_maintenance import bucket  # noqa: F401 - a fixture
from tests.support.archive_kit import AGAIN, NEWER, RUN, Worker, again, source, wav
from tests.support.lakehouse_kit import REVISION, home, read_job

pytestmark = pytest.mark.integration


async def test_runs_go_on_and_revisions_are_made_on_s3(tmp_path: Path, bucket: str) -> None:  # noqa: F811
    settings = home(tmp_path, storage_url=bucket)
    objects = Objects.of(settings)
    ledger = await Ledger.open(settings)
    worker = Worker(ledger, objects, await ledger.archives.open(RUN, REVISION))
    await objects.put_bytes(audio_key("ada", source("a").sha256), wav("a"))
    job_id = await worker.transcribe(source("a"), "the old words")
    await worker.begin(source("b"))
    await ledger.close()

    ledger = await Ledger.open(settings)
    try:
        worker = Worker(ledger, objects, await ledger.archives.open(RUN, REVISION))
        assert [one.state for one in await worker.begin(source("a"), source("b"))] == [BeginState.DONE, BeginState.LEASED]
        assert (await ledger.archives.cancel(worker.archive.id)).counts.skipped == 1
        second = Worker(ledger, objects, await ledger.archives.open(AGAIN, NEWER))
        assert await second.transcribe(again(job_id, source("a")), "the new words", NEWER) == job_id
        job = await read_job(ledger, "ada", job_id)
        assert job is not None
        assert (job.revision, job.engine_revision) == (1, NEWER)
        reader = ArchiveReader(Location.of(settings))
        (file,) = reader.files(second.archive.id, status=FileStatus.COMPLETED, limit=10)
        ended = await ledger.archives.end(second.archive.id, ArchiveStatus.COMPLETED, None)
        assert reader.report(ended).archive.counts.completed == 1
    finally:
        await ledger.close()
    revisions = reader.revisions([job_id])
    diff = await compare(objects, file, revisions[job_id, 0], revisions[job_id, 1])
    assert (diff.errors, diff.old_words) == (1, 3)
