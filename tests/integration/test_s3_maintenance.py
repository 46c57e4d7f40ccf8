"""A home on S3 from end to end: jobs, records, every maintenance task, readers, a second ledger; moto's server answers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest

from lakehouse.history import History
from lakehouse.ledger import Ledger
from lakehouse.location import Location
from lakehouse.maintenance.files import data_files
from lakehouse.maintenance.merge import MergePolicy
from lakehouse.objects import Objects
from lakehouse.results import attempt_key, put_result
from schemas.errors import Conflict
from schemas.tables import table
from tests.lakehouse_kit import home, new_job, outcome, read_jobs, transcript

POLICY = MergePolicy(min_tail_files=3, file_rows=50)
JOBS = 8


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # A process of its own: some calls of the native libraries hold this one's interpreter while they wait for an answer.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_open(port)
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="lake")
            yield "s3://lake/home"
        finally:
            server.terminate()


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.05)
        else:
            return


async def finish_one(ledger: Ledger, objects: Objects, number: int) -> str:
    new = new_job(f"talk {number}")
    await objects.put_bytes(new.audio_key, b"sound")
    await ledger.create_job(new)
    claim = await ledger.claim("w", 5)
    assert claim is not None
    key = attempt_key(claim.job, claim.job.attempt)
    await put_result(objects, key, transcript())
    result = outcome(claim.job, result_key=key, playback_key=None)
    await ledger.complete(claim.job.id, claim.lease, result, transcript())
    return key


async def test_every_maintenance_task_on_s3(bucket: str, tmp_path: Path) -> None:
    settings = home(tmp_path, storage_url=bucket, fsync=True, checkpoint_interval=10)
    # Objects are old at once, and events: the store has no other way to age them within a test.
    storage = settings.storage.model_copy(update={"orphan_hours": 0.0, "event_retention_days": 0.0})
    settings = settings.model_copy(update={"storage": storage})
    objects, location = Objects.of(settings), Location.of(settings)
    ledger = await Ledger.open(settings, merge_policy=POLICY)
    history = History(location, ledger)
    try:
        keys = [await finish_one(ledger, objects, number) for number in range(JOBS)]
        await ledger.delete_job("ada", 3)
        await objects.put_bytes("audio/ada/nobody-s", b"?")
        async with asyncio.timeout(60):
            while (await ledger.stats()).unprojected:  # noqa: ASYNC110 - the projector tells nobody
                await asyncio.sleep(0.05)
        before = await history.page("transcriptions", "ada", limit=100)
        report = await ledger.maintain("all", 120)
        assert report is not None
        assert report.counts["files_merged"] > 8
        # An S3 object is dated by the second, so of this moment's nothing more than the one may be old already.
        assert report.counts["objects_removed"] <= 1
        assert (await history.page("transcriptions", "ada", limit=100)).rows == before.rows
        assert before.total == JOBS - 1
        await asyncio.sleep(1.1)  # until every object is of an earlier second
        again = await ledger.maintain("orphans", 120)
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
    assert (await ledger.create_job(new_job("next"))).id == JOBS + 1
    await ledger.close()
    segments = pl.scan_delta(location.table_uri("segments")).collect()
    assert sorted(set(segments["id"])) == [1, 2, 4, 5, 6, 7, 8]
