"""Ledger and objects on a real S3 protocol: moto's server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import obstore
import polars as pl
import pytest
from deltalake import DeltaTable
from obstore.store import ObjectStore

from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects, audio_key
from lakehouse.storage.signed_urls import Signer
from lakehouse.storage.writer_lock import take_lock
from lakehouse.tables import delta_writer, opened_table, table_reader
from lakehouse.tables.open_table import open_table
from schemas.domain import JobStatus
from schemas.errors import Conflict, PayloadTooLarge, Unavailable
from schemas.tables import TABLES
from tests.support.lakehouse_kit import home, new_job, outcome, read_job, read_jobs, transcript
from tests.support.processes import s3_environment, s3_server

pytestmark = pytest.mark.integration

CHUNK = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in s3_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    name = request.node.name.replace("_", "-")[:60].strip("-")
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=name)
    return f"s3://{name}/home"


async def stream(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield CHUNK


async def test_objects_on_s3(bucket: str) -> None:
    objects = Objects(Location(bucket, fsync=False))
    stored = await objects.put_stream(stream(50), limit_bytes=10**9)
    key = audio_key("ada", stored.sha256)
    await objects.adopt(stored, key)
    assert await objects.size(key) == 50 * len(CHUNK)
    part = b"".join([chunk async for chunk in await objects.open_range(key, 5, len(CHUNK) + 5)])
    assert part == (CHUNK * 2)[5 : len(CHUNK) + 5]
    with pytest.raises(PayloadTooLarge):
        await objects.put_stream(stream(50), limit_bytes=1000)
    assert [item async for item in objects.list("tmp")] == []
    url = await Signer(objects, b"unused").sign(key, "a.wav", 60)
    async with httpx.AsyncClient() as client:
        assert (await client.get(url, headers={"Range": "bytes=0-9"})).content == CHUNK[:10]


async def test_changes_on_s3_by_several_are_all_kept(bucket: str) -> None:
    stores = [Objects(Location(bucket, fsync=False)) for _ in range(2)]

    def one_more(found: bytes | None) -> bytes:
        return str(int(found or b"0") + 1).encode()

    made = await asyncio.gather(*(store.change("results/count", one_more) for store in stores * 3))
    assert sorted(map(int, made)) == list(range(1, 7))
    assert await stores[0].get_bytes("results/count") == b"6"


async def test_a_ledger_on_s3_end_to_end(bucket: str, tmp_path: Path) -> None:
    settings = home(tmp_path, storage_url=bucket, fsync=True)
    objects = Objects.of(settings)
    ledger = await Ledger.open(settings)
    jobs = await asyncio.gather(*(ledger.jobs.create(new_job(str(i))) for i in range(10)))
    assert sorted(job.id for job in jobs) == list(range(1, 11))
    claim = await ledger.jobs.claim("w", 0)
    assert claim is not None
    await objects.put_bytes(f"results/{claim.job.id}.json", json.dumps(transcript().to_json()).encode())
    done = await ledger.jobs.complete(claim.job.id, claim.lease, outcome(claim.job))
    with pytest.raises(Conflict, match=r"process \d+ on"):
        await Ledger.open(settings)
    await ledger.close()

    ledger = await Ledger.open(settings)
    assert await read_job(ledger, "ada", done.id) == done
    assert (await read_jobs(ledger, "ada", 2, 0))[0] == 10
    assert (await ledger.jobs.create(new_job("0"))).status is JobStatus.COMPLETED
    await ledger.close()
    segments = pl.scan_delta(Location.of(settings).table_uri("segments")).collect()
    assert len(segments) == 4


@pytest.mark.parametrize("small_bytes", [0, 10**6], ids=["files as Polars needs them", "whole files"])
async def test_a_ledger_opens_with_one_read_of_each_log_and_small_file(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    settings = home(tmp_path, storage_url=f"{bucket}-{small_bytes}")
    ledger = await Ledger.open(settings)
    jobs = [await ledger.jobs.create(new_job(str(i))) for i in range(5)]
    await ledger.close()
    logs: Counter[str] = Counter()
    files: Counter[str] = Counter()

    def opening(uri: str, version: int | None = None) -> DeltaTable:
        logs[uri] += 1
        return open_table(uri, version)

    def getting(store: ObjectStore, path: str, get: Callable[..., Any] = obstore.get) -> Any:
        files[path] += path.endswith(".parquet")
        return get(store, path)

    monkeypatch.setattr(delta_writer, "open_table", opening)
    monkeypatch.setattr(table_reader, "open_table", opening)
    monkeypatch.setattr(obstore, "get", getting)
    monkeypatch.setattr(opened_table, "_SMALL_BYTES", small_bytes)
    ledger = await Ledger.open(settings)
    assert logs == {Location.of(settings).table_uri(table.name): 1 for table in TABLES}
    read = {path: count for path, count in files.items() if count}
    assert set(read.values()) == ({1} if small_bytes else set())
    assert len(read) == (len(jobs) if small_bytes else 0)
    assert (await ledger.maintenance.stats()).queue_length == len(jobs)
    assert (await ledger.jobs.create(new_job("next"))).id == jobs[-1].id + 1
    assert await read_job(ledger, "ada", jobs[2].id) == jobs[2]
    await ledger.close()


async def test_a_dead_holder_s_lease_is_waited_for_and_its_ghost_may_not_write(bucket: str) -> None:
    location = Location(bucket, fsync=False)
    ghost = await take_lock(location, lease_secs=1.0)
    # Its process is paused: nothing is renewed any more.
    ghost._renewal.cancel()  # type: ignore[attr-defined]
    lock = await asyncio.wait_for(take_lock(location, lease_secs=2.0), 10)
    with pytest.raises(Unavailable) as caught:
        ghost.check()
    assert caught.value.code == "lock_lost"
    lock.check()
    await ghost.release()
    with pytest.raises(Conflict):
        await take_lock(location)
    await lock.release()
    await (await take_lock(location)).release()
