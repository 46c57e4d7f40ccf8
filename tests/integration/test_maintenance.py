"""Maintenance of real tables: what it changes, what it leaves, and what readers and writers notice of it: nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from deltalake import DeltaTable

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.maintenance import merge
from lakehouse.maintenance.merge import MergePolicy, merge_step, sort_key
from lakehouse.maintenance.vacuum import vacuum
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.storage.result_objects import attempt_key, lease_key, put_result
from lakehouse.tables.file_replacement import FileReplacement, data_files
from schemas.domain import Job
from schemas.errors import InvalidParameter, Unavailable
from schemas.records import TtsRender, Voice
from schemas.settings import Settings
from schemas.tables import table
from tests.support.lakehouse_kit import home, new_job, outcome, read_job, transcript, until_projected

pytestmark = pytest.mark.integration

T = TypeVar("T")
POLICY = MergePolicy(min_tail_files=3, file_rows=20)


@asynccontextmanager
async def opened(settings: Settings, policy: MergePolicy = POLICY) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(settings, merge_policy=policy)
    try:
        yield ledger
    finally:
        await ledger.close()


async def within(secs: float, doing: Awaitable[T | None]) -> T:
    answer = await asyncio.wait_for(doing, secs)
    assert answer is not None
    return answer


def with_storage(settings: Settings, **changes: Any) -> Settings:
    """Settings past their bounds: what takes hours in a home must be seen within a test."""
    return settings.model_copy(update={"storage": settings.storage.model_copy(update=changes)})


def render(number: int, account: str) -> TtsRender:
    return TtsRender(
        account=account,
        voice="maeve",
        text=f"Number {number}.",
        chars=9,
        audio_secs=1.0,
        cost_usd=0.0,
        audio_key=None,
        engine_revision="e",
        temperature=0.5,
        verified=False,
        chunks=1,
        retries=0,
        word_error_rate=None,
        import_key=f"k{number}",
    )


async def finished(ledger: Ledger, objects: Objects, content: str, *, is_old: bool = False) -> Job:
    new = new_job(content)
    await objects.put_bytes(new.audio_key, content.encode())
    await ledger.jobs.create(new)
    claim = await within(5, ledger.jobs.claim("w", 5))
    key = attempt_key(claim.job, 1) if is_old else lease_key(claim.job, claim.lease)
    await put_result(objects, key, transcript())
    done = outcome(claim.job, result_key=key, playback_key=None)
    return await ledger.jobs.complete(claim.job.id, claim.lease, done, transcript())


async def test_readers_and_writers_notice_nothing_of_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "_FILES_AT_ONCE", 3)
    settings = home(tmp_path, checkpoint_interval=7)
    uri = Location.of(settings).table_uri("tts_renders")
    acknowledged: dict[str, list[int]] = {"ada": [], "bob": []}
    done = asyncio.Event()

    async def write(ledger: Ledger) -> None:
        for number in range(120):
            account = ("ada", "bob")[number % 3 == 0]
            (row_id,) = await ledger.records.add_renders([render(number, account)])
            acknowledged[account].append(row_id)
        done.set()

    async def read(history: History) -> int:
        reads = 0
        while not done.is_set():
            for account, known in acknowledged.items():
                before = list(known)
                page = await history.page("tts_renders", account, limit=1000, order="asc")
                ids = [row["id"] for row in page.rows]
                assert ids[: len(before)] == before
                assert ids == sorted(set(ids))
                assert page.total == len(ids)
                reads += 1
        return reads

    async def maintain(ledger: Ledger) -> int:
        files = 0
        while not done.is_set():
            files += (await within(30, ledger.maintenance.run("merge", 30))).counts["files_merged"]
        return files

    async with opened(settings) as ledger:
        history = History(Location.of(settings), ledger.records)
        _, reads, files = await asyncio.gather(write(ledger), read(history), maintain(ledger))
        await within(30, ledger.maintenance.run("merge", 30))
        await history.close()
    assert reads > 5
    assert files > 20
    rows = pl.read_delta(uri)
    assert sorted(rows["id"]) == list(range(1, 121))
    check_layout(uri, "tts_renders", POLICY)


def check_layout(uri: str, name: str, policy: MergePolicy) -> None:
    """Files are small enough; runs are sorted, without overlap, and few; statistics tell the truth."""
    key = sort_key(table(name))
    files = data_files(uri, table(name))
    runs: dict[str, list[pl.DataFrame]] = {}
    for file in sorted(files, key=lambda file: file.path):
        rows = pl.read_parquet(f"{uri}/{file.path}")
        assert rows.height == file.num_rows <= policy.file_rows
        for column in ("id", "account", "created_at"):
            assert (file.low[column], file.high[column]) == (rows[column].min(), rows[column].max())
        if file.run is not None:
            runs.setdefault(file.run, []).append(rows)
    for pieces in runs.values():
        run = pl.concat(pieces)
        assert run.equals(run.sort(key, maintain_order=True))
    sizes = sorted(sum(piece.height for piece in pieces) for pieces in runs.values())
    assert all(later > 2 * earlier for earlier, later in itertools.pairwise(sizes)), sizes


async def test_a_merge_that_a_deletion_overtook_is_given_up_and_done_again(tmp_path: Path) -> None:
    settings = home(tmp_path)
    async with opened(settings) as ledger:
        for number in range(9):
            await ledger.records.add_renders([render(number, "ada")])
        writer = ledger._writers["tts_renders"]
        store = Location.of(settings).store("tables/tts_renders")
        change = merge_step(writer.uri, store, writer.table, POLICY)
        assert change is not None
        await writer.delete("id = 4")
        assert not await writer.replace_files(change)
        assert sorted(pl.read_delta(writer.uri)["id"]) == [1, 2, 3, 5, 6, 7, 8, 9]
        await within(30, ledger.maintenance.run("merge", 30))
        await ledger.records.add_renders([render(99, "ada")])
        assert sorted(pl.read_delta(writer.uri)["id"]) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
        # What was written in vain is no part of the table, and goes once it is old.
        lost = Path(writer.uri) / change.added[0].path
        assert lost.exists()
        assert vacuum(writer.uri, 1) == 0
        old = time.time() - 7200
        os.utime(lost, (old, old))
        assert vacuum(writer.uri, 1) == len(change.added) == 1
        assert not lost.exists()
    with pytest.raises(InvalidParameter):
        vacuum(writer.uri, 0)


async def test_events_of_finished_jobs_go_and_numbers_go_on(tmp_path: Path) -> None:
    settings = with_storage(home(tmp_path), event_retention_days=0.0)
    objects, uri = Objects.of(settings), Location.of(settings).table_uri("job_events")
    async with opened(settings) as ledger:
        done = [await finished(ledger, objects, f"talk {number}") for number in range(4)]
        waiting = await ledger.jobs.create(new_job("waits"))
        await until_projected(ledger)
        report = await within(30, ledger.maintenance.run("retention", 30))
        assert report.counts == {"events_forgotten": 3 * len(done), "revisions_forgotten": 0, "deliveries_forgotten": 0}
        assert set(pl.read_delta(uri)["id"]) == {waiting.id}
        assert (await within(30, ledger.maintenance.run("retention", 30))).counts == {
            "events_forgotten": 0,
            "revisions_forgotten": 0,
            "deliveries_forgotten": 0,
        }
    async with opened(settings) as ledger:
        assert [await read_job(ledger, "ada", job.id) for job in done] == done
        again = await ledger.jobs.create(new_job("talk 1"))
        assert (again.id, again.cached_from) == (6, done[1].id)
        claim = await within(5, ledger.jobs.claim("w", 5))
        assert claim.job.id == waiting.id
        await until_projected(ledger)
        assert sorted(pl.read_delta(Location.of(settings).table_uri("transcriptions"))["id"]) == [1, 2, 3, 4, 6]
        # The last job stays though it is final: without it the next start would give its id again.
        await ledger.jobs.fail(claim.job.id, claim.lease, "no", retryable=False)
        await until_projected(ledger)
        await within(30, ledger.maintenance.run("retention", 30))
    async with opened(settings) as ledger:
        assert (await ledger.jobs.create(new_job("next"))).id == 7


async def test_objects_no_row_names_go_when_they_are_old(tmp_path: Path) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)
    folder = Path(settings.storage_url) / "objects"
    async with opened(settings) as ledger:
        late = lease_key(await finished(ledger, objects, "kept"), "the lease of a worker that came too late")
        await finished(ledger, objects, "kept by an earlier version", is_old=True)
        await ledger.jobs.create(new_job("waits"))
        await objects.put_bytes(new_job("waits").audio_key, b"waits")
        await until_projected(ledger)
        kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        orphans = ("tmp/cut-off", "audio/ada/unknown", "results/ada/9-1.json", late, "playback/ada/x.opus")
        for key in (*orphans, "elsewhere/thing"):
            await objects.put_bytes(key, b"x")
        assert (await within(30, ledger.maintenance.run("orphans", 30))).counts["objects_removed"] == 0
        long_ago = time.time() - 3 * 86_400
        for path in folder.rglob("*"):
            os.utime(path, (long_ago, long_ago))
        counts = (await within(30, ledger.maintenance.run("orphans", 30))).counts
        assert counts == {"objects_removed": len(orphans), "unfinished_removed": 0}
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {*kept, "elsewhere/thing"}


async def test_what_a_deleted_voice_left_goes_however_its_erasure_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home(tmp_path)
    objects = Objects.of(settings)
    keys = {name: f"voices/ada/{name}.wav" for name in ("kept", "gone", "gone.consent", "long-gone", "failed-clone")}
    voices = {
        "kept": voice("kept", keys["kept"]),
        "gone": replace(voice("gone", keys["gone"]), consent_key=keys["gone.consent"]),
        "long-gone": voice("long-gone", keys["long-gone"]),
    }

    async def cut_off(_: str) -> None:
        raise ConnectionError("the store went away")

    async with opened(settings) as ledger:
        for one in voices.values():
            await ledger.voices.put(one)
        for key in (*keys.values(), "renders/ada/nobody-s.opus"):
            await objects.put_bytes(key, b"sound")
        monkeypatch.setattr(ledger.voices._objects, "_delete", cut_off)
        for name in ("gone", "long-gone"):
            await ledger.voices.delete("ada", name)
            assert await objects.exists(keys[name])
    monkeypatch.undo()
    async with opened(settings) as ledger:
        assert not await objects.exists(keys["gone"])
        assert not await objects.exists(keys["gone.consent"])
        # A clone that failed, and a deletion older than what is looked after on opening: orphans.
        await objects.put_bytes(keys["long-gone"], b"sound")
        long_ago = time.time() - 3 * 86_400
        for path in (Path(settings.storage_url) / "objects").rglob("*"):
            os.utime(path, (long_ago, long_ago))
        assert (await within(30, ledger.maintenance.run("orphans", 30))).counts["objects_removed"] == 3
        assert await objects.exists(keys["kept"])


def voice(name: str, key: str) -> Voice:
    return Voice(name, "ada", name, "hello", 50, 4.0, key, {}, "espeak-1")


async def test_a_recording_removed_between_its_upload_and_its_job_is_asked_for_again(tmp_path: Path) -> None:
    settings = with_storage(home(tmp_path), orphan_hours=0.0)
    objects = Objects.of(settings)
    new = new_job("old bytes")
    async with opened(settings) as ledger:
        # The upload found the very same bytes, of a job deleted long ago, and was dropped in favour of them.
        await objects.put_bytes(new.audio_key, b"old bytes")
        assert (await within(30, ledger.maintenance.run("orphans", 30))).counts["objects_removed"] == 1
        with pytest.raises(Unavailable) as caught:
            await ledger.jobs.create(new)
        assert caught.value.retryable
        await objects.put_bytes(new.audio_key, b"old bytes")
        await ledger.jobs.create(new)
        # The job's playback copy may be there already, from before the first was deleted; no row names it until it is done.
        playback = f"playback/ada/{new.sha256}.opus"
        await objects.put_bytes(playback, b"opus")
        await within(30, ledger.maintenance.run("orphans", 30))
        assert await objects.exists(new.audio_key)
        assert await objects.exists(playback)


async def test_tasks_are_joined_bounded_and_known(tmp_path: Path) -> None:
    async with opened(home(tmp_path)) as ledger:
        with pytest.raises(InvalidParameter):
            await ledger.maintenance.run("polish", 1)
        assert await ledger.maintenance.run("all", 0) is None
        both = await asyncio.gather(ledger.maintenance.run("all", 60), ledger.maintenance.run("all", 60))
        assert both[0] is both[1] is not None
        assert set(both[0].counts) >= {"files_merged", "events_forgotten", "files_removed", "objects_removed"}


def test_large_runs_stay_while_small_ones_grow(tmp_path: Path) -> None:
    """A row is rewritten a number of times that grows with the logarithm of the table."""
    settings = home(tmp_path)
    location, renders = Location.of(settings), table("tts_renders")
    policy = MergePolicy(min_tail_files=4, file_rows=64)

    async def scenario() -> int:
        rewritten = 0
        async with opened(settings, policy) as ledger:
            writer = ledger._writers["tts_renders"]
            store = location.store("tables/tts_renders")
            for number in range(160):
                await ledger.records.add_renders([render(number, f"a{number % 7}")])
                while (change := merge_step(writer.uri, store, renders, policy)) is not None:
                    assert await writer.replace_files(change)
                    rewritten += sum(file.num_rows for file in change.added)
        return rewritten

    rewritten = asyncio.run(scenario())
    assert 160 <= rewritten < 160 * 10
    check_layout(location.table_uri("tts_renders"), "tts_renders", policy)


def test_an_exchange_is_one_version_and_changes_no_data(tmp_path: Path) -> None:
    settings = home(tmp_path)

    async def scenario() -> None:
        async with opened(settings) as ledger:
            for number in range(4):
                await ledger.records.add_renders([render(number, "ada")])
            writer = ledger._writers["tts_renders"]
            version = writer.version
            change = merge_step(writer.uri, Location.of(settings).store("tables/tts_renders"), writer.table, POLICY)
            assert isinstance(change, FileReplacement)
            assert await writer.replace_files(change)
            assert writer.version == version + 1
            log = (Path(writer.uri) / "_delta_log" / f"{writer.version:020d}.json").read_text()
            assert '"dataChange":true' not in log
            handle = DeltaTable(writer.uri, version=version)
            before = pl.scan_delta(handle).sort("id").collect()
            assert before.equals(pl.read_delta(writer.uri).sort("id"))

    asyncio.run(scenario())
