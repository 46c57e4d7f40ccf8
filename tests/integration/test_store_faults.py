"""A bucket that answers 500 or too late, cuts requests, or writes in silence: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import boto3
import httpx
import polars as pl
import pyarrow as pa
import pytest

from lakehouse.backup.snapshot_paths import current_versions
from lakehouse.check.check import check
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, audio_key
from lakehouse.tables.group_commit import TableWriter
from schemas.domain import Job, JobStatus
from schemas.errors import Unavailable
from schemas.tables import Table
from tests.support.faulty_s3 import KINDS, TIMEOUT_SECS
from tests.support.furnished_home import completed
from tests.support.lakehouse_kit import home, new_job, read_jobs, until_projected
from tests.support.processes import RUN_SECS, free_port, s3_server, started

pytestmark = pytest.mark.integration

T = TypeVar("T")
NUMBERS = Table("numbers", "one number", pa.schema([pa.field("id", pa.int64(), nullable=False)]), ("id",))
SUBMITS = 8
DONE = 2


@dataclass(frozen=True)
class Bucket:
    url: str
    proxy: str
    upstream: str

    def break_percent(self, percent: int) -> None:
        httpx.post(f"{self.proxy}/faults/{percent}").raise_for_status()

    def break_next_commit(self, kind: str) -> None:
        httpx.post(f"{self.proxy}/faults/next-commit/{kind}").raise_for_status()

    def broken(self) -> Counter[str]:
        return Counter(httpx.get(f"{self.proxy}/faults").json())


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    port = free_port()
    with s3_server() as upstream:
        boto3.client(
            "s3", endpoint_url=upstream, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        ).create_bucket(Bucket="calls")
        argv = (sys.executable, "-m", "tests.support.faulty_s3", str(port), upstream, "7")
        with started(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + RUN_SECS
            while not answers(port):
                assert process.poll() is None, "the proxy ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for name, value in {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
                "AWS_TIMEOUT": f"{TIMEOUT_SECS:.0f}s",
            }.items():
                monkeypatch.setenv(name, value)
            yield Bucket("s3://calls/home", f"http://127.0.0.1:{port}", upstream)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """``call``, repeated as clients repeat it while a part is away."""
    async with asyncio.timeout(240):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


async def submit(ledger: Ledger, objects: Objects, name: str) -> Job:
    async def chunks():  # type: ignore[no-untyped-def]
        yield name.encode()

    async def upload() -> None:
        stored = await objects.put_stream(chunks(), limit_bytes=1000)
        await objects.adopt(stored, audio_key("ada", stored.sha256))

    await patiently(upload)
    new = new_job(name, submission=f"client-{name}")
    return await patiently(lambda: ledger.jobs.create(new))


async def test_nothing_acknowledged_is_lost_or_doubled_by_a_failing_store(tmp_path: Path, bucket: Bucket) -> None:
    settings = home(tmp_path, storage_url=bucket.url)
    location, objects = Location.of(settings), Objects.of(settings)
    ledger = await Ledger.open(settings)
    bucket.break_percent(15)
    try:
        jobs = await asyncio.gather(*(submit(ledger, objects, f"call-{n}") for n in range(SUBMITS)))
        done = [await patiently(lambda n=n: completed(ledger, objects, f"done-{n}")) for n in range(DONE)]
        broken = bucket.broken()
        assert set(broken) == set(KINDS), broken
        bucket.break_percent(0)
        await until_projected(ledger)
    finally:
        bucket.break_percent(0)
        await ledger.close()
    assert len({job.id for job in jobs}) == SUBMITS

    reopened = await Ledger.open(settings)
    try:
        _, found = await read_jobs(reopened, "ada", 100, 0)
    finally:
        await reopened.close()
    named = Counter(job.filename for job in found if job.filename.startswith("call-"))
    assert {name: count for name, count in named.items() if count > 1} == {}
    assert {job.filename for job in jobs} <= named.keys()
    assert {job.id for job in done} <= {job.id for job in found if job.status is JobStatus.COMPLETED}
    lasting = [one async for one in check(location, current_versions(location), 1.0)]
    assert lasting == []


async def test_a_commit_that_was_written_yet_answered_by_an_error_is_not_repeated(tmp_path: Path, bucket: Bucket) -> None:
    """One after the other, because the store's client itself repeats a request, and then finds its own entry in the way."""
    location = Location.of(home(tmp_path, storage_url=bucket.url))
    writer = await TableWriter.open(NUMBERS, location, app_id="test", checkpoint_interval=20)
    faults = ("written", "unanswered", "late", "refused", "cut")
    try:
        for number, kind in enumerate(faults):
            bucket.break_next_commit(kind)
            await patiently(lambda number=number: writer.append([{"id": number}]))
        assert bucket.broken() == Counter(faults)
        found = await asyncio.to_thread(lambda: pl.scan_delta(writer.uri).collect()["id"].to_list())
        assert sorted(found) == list(range(len(faults)))
    finally:
        await writer.close()
