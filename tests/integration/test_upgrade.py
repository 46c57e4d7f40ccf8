"""Data of earlier releases opens and reads the same; that of later ones is refused by name; migrations survive kills."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import obstore
import pytest

from lakehouse.history.history import History
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.tables import data_format
from lakehouse.tables.data_format import FORMAT, Migration, read_format, write_format
from lakehouse.tables.row_mapping import job_from_row
from schemas.domain import JobStatus, Transcript
from schemas.errors import Conflict
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.support.furnished_home import completed
from tests.support.lakehouse_kit import home
from tests.support.stored_rows import stored_rows

pytestmark = pytest.mark.integration

HOMES = sorted((Path(__file__).resolve().parents[1] / "data" / "homes").glob("*.tar.xz"))


def unpacked(archive: Path, folder: Path) -> tuple[Settings, dict[str, Any]]:
    """A home of an earlier release, and the rows that it had when it was written."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return home(folder), json.loads((folder / "rows.json").read_text())


def as_then(rows: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """Present rows with the columns that there were."""
    columns = {name: {column for row in found for column, _ in row} for name, found in then.items()}
    return {
        name: sorted(([pair for pair in row if pair[0] in columns[name]] for row in rows[name]), key=json.dumps)
        for name in then
    }


def in_order(rows: dict[str, Any]) -> dict[str, Any]:
    return {name: sorted(found, key=json.dumps) for name, found in rows.items()}


@pytest.mark.parametrize("archive", HOMES, ids=lambda path: path.name.partition(".")[0])
async def test_the_data_of_an_earlier_release_is_opened_reads_the_same_and_is_worked_on(
    archive: Path, tmp_path: Path
) -> None:
    settings, then = unpacked(archive, tmp_path)
    assert {table for table, rows in then.items() if rows} >= {
        "job_events",
        "transcriptions",
        "segments",
        "turns",
        "voices",
    }
    ledger = await Ledger.open(settings)
    try:
        now = json.loads(stored_rows(settings))
        assert set(now) == {table.name for table in TABLES}
        assert as_then(now, then) == in_order(then)
        history, objects = History(Location.of(settings), ledger.records), Objects.of(settings)
        jobs = [job_from_row(row) for row in (await history.slice("transcriptions", "ada", 0, 10)).rows]
        assert [job.status for job in jobs] == [JobStatus.SUBMITTED, JobStatus.COMPLETED]
        done = jobs[1]
        assert done.result_key is not None
        assert "this is one" in Transcript.from_json(json.loads(await objects.get_bytes(done.result_key))).text
        assert (await ledger.voices.of_account("ada"))[0].name == "mine"
        # The job that waited is worked on, and a new one follows it.
        claim = await ledger.jobs.claim("worker", 0)
        assert claim is not None
        assert claim.job.id == jobs[0].id
        assert (await completed(ledger, objects, "after the upgrade")).id > jobs[0].id
    finally:
        await ledger.close()
    assert read_format(Location.of(settings)) == FORMAT


def test_there_is_a_home_of_every_format() -> None:
    assert [path.name for path in HOMES] == [f"format-{number}.tar.xz" for number in range(1, FORMAT + 1)]


async def test_a_downgrade_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    settings, _ = unpacked(HOMES[-1], tmp_path)
    location = Location.of(settings)
    said = {"format": FORMAT + 1, "written_by": "9.8.7"}
    obstore.put(location.store(), "tables/format.json", json.dumps(said).encode())
    before = stored_rows(settings)
    with pytest.raises(Conflict, match=r"written by Fluxions 9\.8\.7.*formats up to") as refused:
        await Ledger.open(settings)
    assert refused.value.code == "newer_format"
    assert stored_rows(settings) == before
    # The lock was given back: the version that wrote it can be started at once.
    write_format(location, FORMAT)
    await (await Ledger.open(settings)).close()


async def test_migrations_are_carried_out_once_in_order_and_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = unpacked(HOMES[0], tmp_path)
    done: list[int] = []
    fails = [True]

    def first(_: Location) -> None:
        done.append(FORMAT + 1)

    def second(_: Location) -> None:
        done.append(FORMAT + 2)
        if fails:
            fails.pop()
            raise RuntimeError("killed")

    steps = (Migration(FORMAT + 1, "first", first), Migration(FORMAT + 2, "second", second))
    monkeypatch.setattr(data_format, "MIGRATIONS", (*data_format.MIGRATIONS, *steps))
    monkeypatch.setattr(data_format, "FORMAT", FORMAT + 2)
    with pytest.raises(RuntimeError, match="killed"):
        await Ledger.open(settings)
    for _ in range(2):
        await (await Ledger.open(settings)).close()
    assert done == [FORMAT + 1, FORMAT + 2, FORMAT + 2]
    assert read_format(Location.of(settings)) == FORMAT + 2


async def test_a_new_home_has_the_present_format(tmp_path: Path) -> None:
    settings = home(tmp_path)
    await (await Ledger.open(settings)).close()
    assert read_format(Location.of(settings)) == FORMAT
