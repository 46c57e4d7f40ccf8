"""Exports: the rows of the tables as Parquet, later only what was added, and never a row twice or one that was erased."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from cli.main import main
from lakehouse.backup.snapshot_paths import current_versions
from lakehouse.export import STATE, Exported, Selection, export
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from schemas.errors import InvalidParameter
from schemas.records import TtsRender
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.support.lakehouse_kit import home, new_job, outcome, transcript, until_projected, vacuum

pytestmark = pytest.mark.integration

NOON = dt.datetime(2026, 6, 29, 12, tzinfo=dt.UTC)
RENDER = TtsRender("ada", "maeve", "Good evening.", 13, 1.5, 0.01, None, "e", 0.7, created_at=NOON)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home(tmp_path / "home")


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(settings)
    yield opened
    await opened.close()


async def transcribe(ledger: Ledger, content: str, account: str = "ada") -> int:
    job = await ledger.jobs.create(new_job(content, account=account))
    claim = await ledger.jobs.claim("w", 5)
    assert claim is not None
    await ledger.jobs.complete(job.id, claim.lease, outcome(job), transcript())
    await until_projected(ledger)
    return job.id


def exported(settings: Settings, folder: Path, selection: Selection | None = None) -> dict[str, Exported]:
    location = Location.of(settings)
    return {one.table: one for one in export(location, folder, current_versions(location), selection or Selection())}


def rows(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(folder / table / "*.parquet")


def stored(settings: Settings, table: str) -> pl.DataFrame:
    return pl.read_delta(f"{settings.storage_url}/tables/{table}")


def same(settings: Settings, folder: Path, table: str, key: str) -> bool:
    return rows(folder, table).sort(key).equals(stored(settings, table).sort(key))


async def test_an_increment_adds_what_is_new_and_only_that(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    await transcribe(ledger, "one")
    first = exported(settings, folder)
    assert (first["transcriptions"].kind, first["transcriptions"].rows) == ("whole", 1)
    assert {one.kind for one in exported(settings, folder).values()} == {"unchanged"}
    await transcribe(ledger, "two")
    await transcribe(ledger, "three", "eve")
    second = exported(settings, folder)
    assert (second["transcriptions"].kind, second["transcriptions"].rows) == ("increment", 2)
    assert second["tts_renders"].kind == "unchanged"
    assert len(list((folder / "transcriptions").iterdir())) == 2
    for table in ("transcriptions", "segments", "job_events"):
        assert sorted(rows(folder, table)["id"]) == sorted(stored(settings, table)["id"]), table
    assert same(settings, folder, "job_events", "seq")


async def test_a_merge_in_between_adds_no_row_twice(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    for number in range(12):
        await ledger.records.add_renders([replace(RENDER, voice=f"v{number}")])
        if number == 3:
            exported(settings, folder)
    await ledger.maintenance.run("merge", 60.0)
    assert exported(settings, folder)["tts_renders"].kind == "increment"
    assert same(settings, folder, "tts_renders", "id")


async def test_files_that_were_vacuumed_make_it_whole_again(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    exported(settings, folder)
    for number in range(12):
        await ledger.records.add_renders([replace(RENDER, voice=f"v{number}")])
    await ledger.maintenance.run("merge", 60.0)
    vacuum(settings)
    assert exported(settings, folder)["tts_renders"].kind == "whole"
    assert same(settings, folder, "tts_renders", "id")
    assert len(list((folder / "tts_renders").iterdir())) == 1


async def test_what_was_erased_leaves_the_export(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    gone, stays = await ledger.records.add_renders([RENDER]), await ledger.records.add_renders([RENDER])
    exported(settings, folder)
    await ledger.deletions.render("ada", gone[0])
    await ledger.maintenance.run("all", 60.0)
    found = exported(settings, folder)["tts_renders"]
    assert list(rows(folder, "tts_renders")["id"]) == stays
    assert found.kind == "whole"


async def test_an_interrupted_export_is_continued_without_doubles(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    await ledger.records.add_renders([RENDER])
    exported(settings, folder)
    state = (folder / STATE).read_text()
    await ledger.records.add_renders([RENDER])
    exported(settings, folder)
    (folder / STATE).write_text(state)  # as if it had ended before its state was written
    (folder / "tts_renders" / "00000000000000000099.new").write_bytes(b"half")
    await ledger.records.add_renders([RENDER])
    exported(settings, folder)
    assert same(settings, folder, "tts_renders", "id")
    assert all(path.suffix == ".parquet" for path in (folder / "tts_renders").iterdir())


async def test_one_account_from_one_day_on(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    later = NOON + dt.timedelta(days=2)
    for account, moment in (("ada", NOON), ("ada", later), ("eve", later)):
        render = replace(RENDER, account=account, created_at=moment, import_key=f"made {moment}")
        await ledger.records.import_renders(account, [render])
    chosen = Selection("ada", NOON + dt.timedelta(days=1))
    exported(settings, tmp_path / "export", chosen)
    found = rows(tmp_path / "export", "tts_renders")
    assert found.select("account", "created_at").rows() == [("ada", later)]
    with pytest.raises(InvalidParameter, match="same options"):
        exported(settings, tmp_path / "export", Selection("eve"))


def test_a_folder_with_other_files_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidParameter, match="empty folder"):
        export(Location.of(settings), tmp_path, {}, Selection())


async def test_the_command_exports_one_account_without_tables_of_operators(
    settings: Settings, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await transcribe(ledger, "one")
    await ledger.close()
    folder = tmp_path / "export"
    argv = ["export", str(folder), "--account", "ada", "--home", str(settings.home), "--json"]
    assert await asyncio.to_thread(main, argv) == 0
    found = {one["table"]: one["rows"] for one in json.loads(capsys.readouterr().out)["tables"]}
    assert found["transcriptions"] == 1
    assert "api_keys" not in found
    assert not (folder / "job_events").exists()


async def test_tables_keep_the_protocol_that_every_reader_has(settings: Settings, ledger: Ledger) -> None:
    """As docs/tables.md says: reader version 1, writer version 2, no features; so read delta-rs and DuckDB the same."""
    await transcribe(ledger, "one")
    await ledger.maintenance.run("merge", 60.0)
    for table in TABLES:
        handle = DeltaTable(f"{settings.storage_url}/tables/{table.name}")
        protocol = handle.protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2), table.name
        assert not protocol.reader_features, table.name
        assert not protocol.writer_features, table.name
    handle = DeltaTable(f"{settings.storage_url}/tables/transcriptions")
    statistics = pl.DataFrame(handle.get_add_actions(flatten=True))
    assert statistics["num_records"].to_list() == [1]
    assert statistics["min.account"].to_list() == statistics["max.account"].to_list() == ["ada"]
    files = [f"{settings.storage_url}/tables/transcriptions/{path}" for path in statistics["path"]]
    by_duckdb = duckdb.sql(f"select id, account, audio_duration_secs from read_parquet({files!r})").fetchall()
    assert by_duckdb == pl.scan_delta(handle).select("id", "account", "audio_duration_secs").collect().rows()
