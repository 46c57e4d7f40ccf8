"""A home on S3 from end to end: jobs, records, every maintenance task, readers, a second ledger; moto's server answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import lease_key, put_result
from lakehouse.tables.file_replacement import data_files
from schemas.errors import Conflict
from schemas.tables import table
from tests.support.lakehouse_kit import home, new_job, outcome, read_jobs, transcript, until_projected
from tests.support.processes import s3_environment, s3_server

pytestmark = pytest.mark.integration

POLICY = MergePolicy(min_tail_files=3, file_rows=50)
JOBS = 8


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as endpoint:
        for name, value in s3_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="lake")
        yield "s3://lake/home"


async def finish_one(ledger: Ledger, objects: Objects, number: int) -> str:
    new = new_job(f"talk {number}")
    await objects.put_bytes(new.audio_key, b"sound")
    await ledger.jobs.create(new)
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    key = lease_key(claim.job, claim.lease)
    await put_result(objects, key, transcript())
    result = outcome(claim.job, result_key=key, playback_key=None)
    await ledger.jobs.complete(claim.job.id, claim.lease, result, transcript())
    return key


async def test_every_maintenance_task_on_s3(bucket: str, tmp_path: Path) -> None:
    settings = home(tmp_path, storage_url=bucket, fsync=True, checkpoint_interval=10)
    # Objects are old at once, and events: the store has no other way to age them within a test.
    storage = settings.storage.model_copy(update={"orphan_hours": 0.0, "event_retention_days": 0.0})
    settings = settings.model_copy(update={"storage": storage})
    objects, location = Objects.of(settings), Location.of(settings)
    ledger = await Ledger.open(settings, merge_policy=POLICY)
    history = History(location, ledger.records)
    try:
        keys = [await finish_one(ledger, objects, number) for number in range(JOBS)]
        await ledger.jobs.delete("ada", 3)
        await objects.put_bytes("audio/ada/nobody-s", b"?")
        await until_projected(ledger)
        before = await history.page("transcriptions", "ada", limit=100)
        report = await ledger.maintenance.run("all", 120)
        assert report is not None
        assert report.counts["files_merged"] > 8
        # An S3 object is dated by the second, so of this moment's nothing more than the one may be old already.
        assert report.counts["objects_removed"] <= 1
        assert (await history.page("transcriptions", "ada", limit=100)).rows == before.rows
        assert before.total == JOBS - 1
        await asyncio.sleep(1.1)  # until every object is of an earlier second
        again = await ledger.maintenance.run("orphans", 120)
        assert again is not None
        assert report.counts["objects_removed"] + again.counts["objects_removed"] == 1
        assert not await objects.exists("audio/ada/nobody-s")
        assert [await objects.exists(key) for key in keys] == [number != 2 for number in range(JOBS)]
        with pytest.raises(Conflict, match=r"process \d+ on"):
            await Ledger.open(settings)
    finally:
        await history.close()
        await ledger.close()

    files = data_files(location.table_uri("job_events"), table("job_events"))
    assert [file.run is not None for file in files] == [True] * len(files)
    ledger = await Ledger.open(settings, merge_policy=POLICY)
    assert (await read_jobs(ledger, "ada", 100, 0))[0] == JOBS - 1
    assert (await ledger.jobs.create(new_job("next"))).id == JOBS + 1
    await ledger.close()
    segments = pl.scan_delta(location.table_uri("segments")).collect()
    assert sorted(set(segments["id"])) == [1, 2, 4, 5, 6, 7, 8]
