"""Backups are consistent while the ledger writes, copy what is new, and restore every row and object; and the drill."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import obstore
import polars as pl
import pytest
from obstore.store import ObjectStore
from polars.testing import assert_frame_equal

from lakehouse.backup.backup import BackupTarget, back_up, blob_key, next_name
from lakehouse.backup.backup_manifest import Manifest
from lakehouse.backup.restore import restore
from lakehouse.backup.snapshot_paths import current_versions, object_paths
from lakehouse.check.check import check
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.tables.data_format import FORMAT
from schemas.errors import Conflict, DamagedObject, NotFound
from schemas.tables import TABLES
from tests.support.furnished_home import completed, furnish, rendered, submitted
from tests.support.lakehouse_kit import home, new_job, read_jobs, until_projected
from tests.support.processes import s3_environment, s3_server

pytestmark = pytest.mark.integration


def rows(location: Location, versions: Mapping[str, int]) -> dict[str, pl.DataFrame]:
    return {
        name: pl.read_delta(location.table_uri(name), version=at).sort(pl.all().exclude(pl.List, pl.Struct))
        for name, at in versions.items()
    }


def target(folder: Path | str) -> BackupTarget:
    return BackupTarget(Location(str(folder), fsync=False))


async def assert_restored(manifest: Manifest, source: Location, restored: Location) -> None:
    """Every row and every object of a backup is there again, and nothing else."""
    versions = current_versions(restored)
    assert versions == dict(manifest.tables)
    expected, found = rows(source, manifest.tables), rows(restored, versions)
    assert set(found) == {table.name for table in TABLES}
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame)
        assert frame.height, f"{name} has no row, so nothing is compared"
    named = {path.removeprefix("objects/") for path in object_paths(source, manifest.tables)}
    there = Objects(restored)
    kept = {key for folder in FOLDERS async for key, _ in there.list(folder)}
    assert kept == named
    for key in named:
        assert await there.get_bytes(key) == await Objects(source).get_bytes(key)


FOLDERS = ("audio", "results", "playback", "renders", "conversations", "voices")


def test_a_backup_is_the_newest_although_the_wall_clock_was_put_back() -> None:
    first = next_name([])
    assert first < next_name([first])
    assert next_name([first, "29990101T000000999999Z"]) == "29990101T000001000000Z"


async def test_a_backup_taken_while_the_ledger_writes_is_restored_row_by_row_and_object_by_object(tmp_path: Path) -> None:
    settings = home(tmp_path / "home", checkpoint_interval=5)
    source, kept = Location.of(settings), target(tmp_path / "backups")
    ledger, objects = await Ledger.open(settings), Objects.of(settings)
    stop = asyncio.Event()

    async def clients() -> int:
        count = 0
        while not stop.is_set() and count < 60:
            await completed(ledger, objects, f"beside-{count}")
            await rendered(ledger, objects, f"beside-{count}")
            count += 1
        return count

    try:
        await furnish(ledger, objects)
        for number in range(3):  # the waiting job goes first
            await completed(ledger, objects, f"before-{number}")
        writing = asyncio.create_task(clients())
        manifests = []
        for _ in range(2):
            versions = (await ledger.maintenance.stats()).tables
            manifests.append((await back_up(source, kept, versions))[0])
            await ledger.maintenance.run("merge", 60)
        stop.set()
        assert await writing > 0
        last, copied = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
    finally:
        stop.set()
        await ledger.close()
    assert copied < last.size_bytes
    for number, manifest in enumerate([manifests[-1], last]):
        assert manifest.missing == manifest.damaged == ()
        restored = Location.of(home(tmp_path / f"restored-{number}"))
        await restore(kept, manifest, restored)
        await assert_restored(manifest, source, restored)
        assert [found async for found in check(restored, current_versions(restored), 1.0)] == []

    # The restored home works on, and its ids follow.
    again = home(tmp_path / f"restored-{number}")
    reopened = await Ledger.open(again)
    try:
        _, jobs = await read_jobs(reopened, "ada", 100, 0)
        job = await submitted(reopened, Objects.of(again), "after")
        assert job.id > max(one.id for one in jobs)
    finally:
        await reopened.close()


async def test_only_what_is_new_is_copied_and_what_no_backup_needs_is_removed(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(tmp_path / "backups")
    ledger, objects = await Ledger.open(settings), Objects.of(settings)
    try:
        await furnish(ledger, objects)
        whole, first = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
        _, second = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
        assert (first > 0, second) == (True, 0)
        await rendered(ledger, objects, "new")
        (result, *_) = (path for path in (entry.path for entry in whole.entries) if path.endswith(".segments.json"))
        corrected = result.replace(".segments.json", ".corrections.json")
        await objects.put_bytes(corrected.removeprefix("objects/"), b"{}")
        manifest, third = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
        assert 0 < third < first
    finally:
        await ledger.close()
    (tmp_path / "home" / "data" / "objects" / "renders" / "ada" / "new.opus").unlink()
    last, _ = await back_up(source, kept, current_versions(source))
    assert corrected in {entry.path for entry in last.entries}
    assert last.missing == ("objects/renders/ada/new.opus",)
    assert await kept.prune(1) == 3
    assert await kept.names() == [last.name]
    assert await kept.blobs() == {entry.sha256 for entry in last.entries}
    assert manifest.name != last.name


async def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(tmp_path / "backups")
    read: list[str] = []
    get = obstore.get_async

    def counted(store: ObjectStore, path: str, **options: Any) -> Any:
        read.append(path)
        return get(store, path, **options)

    ledger, objects = await Ledger.open(settings), Objects.of(settings)
    try:
        await furnish(ledger, objects)
        await until_projected(ledger)
        versions = (await ledger.maintenance.stats()).tables
        monkeypatch.setattr(obstore, "get_async", counted)
        first, _ = await back_up(source, kept, versions)
        sources = {entry.path for entry in first.entries}
        assert sources <= {*read}
        read.clear()
        await back_up(source, kept, versions)
        assert sources & {*read} == set()
        await rendered(ledger, objects, "new")
        third, _ = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
        new = {entry.path for entry in third.entries} - sources
        assert "objects/renders/ada/new.opus" in new
        assert {path for path in read if path.startswith(("objects/", "tables/"))} == new
    finally:
        await ledger.close()


async def test_a_damaged_backup_is_noticed_and_never_restored(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(tmp_path / "backups")
    ledger = await Ledger.open(settings)
    try:
        await furnish(ledger, Objects.of(settings))
    finally:
        await ledger.close()
    manifest, _ = await back_up(source, kept, current_versions(source))
    assert await kept.verify(manifest) == []
    hurt = next(entry for entry in manifest.entries if entry.path.startswith("objects/results/"))
    blob = tmp_path / "backups" / "objects" / blob_key(hurt.sha256)
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])
    assert await kept.verify(manifest) == [entry.path for entry in manifest.entries if entry.sha256 == hurt.sha256]
    with pytest.raises(DamagedObject, match=r"results/ada"):
        await restore(kept, manifest, Location.of(home(tmp_path / "restored")))
    assert current_versions(Location.of(home(tmp_path / "restored"))) == {}


async def test_a_restore_that_broke_off_leaves_nothing_that_opens_and_may_be_repeated(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(tmp_path / "backups")
    ledger, objects = await Ledger.open(settings), Objects.of(settings)
    try:
        await furnish(ledger, objects)
        older, _ = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
        for number in range(3):
            await rendered(ledger, objects, f"later-{number}")
        newer, _ = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
    finally:
        await ledger.close()
    # The last file that only the newer backup has lost its content: most tables are written before the restore fails.
    known = {entry.sha256 for entry in older.entries}
    tables = [entry for entry in newer.entries if entry.path.startswith("tables/")]
    lost = next(entry for entry in reversed(tables) if entry.sha256 not in known)
    blob = tmp_path / "backups" / "objects" / blob_key(lost.sha256)
    blob.rename(tmp_path / "lost")
    again = home(tmp_path / "restored")
    restored = Location.of(again)
    with pytest.raises(NotFound):
        await restore(kept, newer, restored)
    assert current_versions(restored) != {}
    with pytest.raises(Conflict) as refused:
        await Ledger.open(again)
    assert refused.value.code == "unfinished_restore"
    await restore(kept, older, restored)
    assert current_versions(restored) == dict(older.tables)
    expected = rows(source, older.tables)
    for name, frame in rows(restored, older.tables).items():
        assert_frame_equal(frame, expected[name])
    reopened = await Ledger.open(again)
    try:
        assert (await reopened.jobs.create(new_job("after"))).id > 0
    finally:
        await reopened.close()
    with pytest.raises(Conflict, match="restore into an empty"):
        await restore(kept, older, restored)


async def test_a_restore_overwrites_nothing_and_refuses_a_later_format(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(tmp_path / "backups")
    await (await Ledger.open(settings)).close()
    manifest, _ = await back_up(source, kept, current_versions(source))
    with pytest.raises(Conflict) as full:
        await restore(kept, manifest, source)
    assert full.value.code == "not_empty"
    later = Manifest(manifest.name, FORMAT + 1, manifest.tables, manifest.entries)
    with pytest.raises(Conflict) as newer:
        await restore(kept, later, Location.of(home(tmp_path / "restored")))
    assert newer.value.code == "newer_format"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as url:
        for name, value in s3_environment(url).items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="backups")
        yield "s3://backups/fluxions"


async def test_a_bucket_takes_backups_too(tmp_path: Path, bucket: str) -> None:
    settings = home(tmp_path / "home")
    source, kept = Location.of(settings), target(bucket)
    ledger = await Ledger.open(settings)
    try:
        await furnish(ledger, Objects.of(settings))
        manifest, _ = await back_up(source, kept, (await ledger.maintenance.stats()).tables)
    finally:
        await ledger.close()
    restored = Location.of(home(tmp_path / "restored"))
    await restore(kept, manifest, restored)
    await assert_restored(manifest, source, restored)
