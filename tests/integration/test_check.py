"""`fluxions check` finds each kind of damage that is planted, and nothing where there is none; and mends what it can."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from cli.main import main
from lakehouse.check.findings import Kind
from lakehouse.history.index_files import IndexFiles
from lakehouse.history.row_index import index_rows
from lakehouse.ledger.ledger import Ledger
from lakehouse.storage.derived_files import derived_folder
from lakehouse.storage.location import Location
from lakehouse.storage.objects import Objects
from lakehouse.tables.group_commit import TableWriter
from lakehouse.tables.index_specs import INDEX_SPECS
from runtime.children import module_env
from schemas.tables import JOB_EVENTS
from tests.support.furnished_home import completed, furnish
from tests.support.lakehouse_kit import home, until_projected
from tests.support.processes import started

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    asyncio.run(furnished(folder))
    return folder


async def furnished(folder: Path) -> None:
    settings = home(folder)
    ledger = await Ledger.open(settings)
    try:
        await furnish(ledger, Objects.of(settings))
        await completed(ledger, Objects.of(settings), "another")
        await until_projected(ledger)
    finally:
        await ledger.close()


@pytest.fixture
def here(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound home."""
    return shutil.copytree(sound, tmp_path / "home")


def found(here: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, tuple[str, bool]]]:
    """(exit code, where by kind)."""
    code = main(["check", "--all", "--json", "--home", str(here), *options])
    said = json.loads(capsys.readouterr().out)["findings"]
    return code, {one["kind"]: (one["where"], one["mended"]) for one in said}


def objects(here: Path, pattern: str) -> Path:
    return next((here / "data" / "objects").glob(pattern))


def data_file(here: Path, table: str) -> Path:
    return next((here / "data" / "tables" / table).rglob("*.parquet"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def append_again(here: Path, table: str, **changes: object) -> None:
    """The last row of a table once more."""
    uri = Location.of(home(here)).table_uri(table)
    row = pl.read_delta(uri).tail(1).with_columns(**{name: pl.lit(value) for name, value in changes.items()})
    row.cast(pl.read_delta(uri).schema).write_delta(uri, mode="append")


async def in_work_without_a_lease(here: Path) -> None:
    location = Location.of(home(here))
    last = pl.read_delta(location.table_uri("job_events")).sort("seq").tail(1).to_dicts()[0]
    writer = await TableWriter.open(JOB_EVENTS, location, app_id="ledger", checkpoint_interval=20)
    await writer.append([{**last, "seq": last["seq"] + 1, "status": "processing", "worker": None}])
    await writer.close()


def aged(path: Path) -> None:
    """A file that a killed process was writing two days ago."""
    path.write_bytes(b"{")
    os.utime(path, (time.time() - 2 * 86_400,) * 2)


def unnamed(here: Path) -> None:
    """A recording that was stored two days ago, and no row."""
    (path := here / "data" / "objects" / "audio" / "ada" / ("0" * 64)).write_bytes(b"RIFF")
    os.utime(path, (time.time() - 2 * 86_400,) * 2)


def unfinished_in_the_table(here: Path) -> None:
    """The ledger said that it had written a finished job to its table, and the table does not have it."""
    DeltaTable(Location.of(home(here)).table_uri("transcriptions")).delete("status = 'completed' and id = 1")


def index_of(here: Path) -> Path:
    """An index as a gateway makes it."""
    index = index_rows(pl.read_delta(Location.of(home(here)).table_uri("turns")), INDEX_SPECS["turns"])
    folder = derived_folder(here) / "turns"
    IndexFiles(folder).index_of("file:///turns/one.parquet", lambda: index)
    (path,) = folder.glob("*.rows")
    return path


def left_scratch(here: Path) -> Path:
    """The folder of a process that was killed while it had a decoded recording."""
    argv = (sys.executable, "-c", SCRATCH, str(here / "scratch"))
    with started(argv, env=module_env(), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().decode().strip())
        child.kill()
        child.wait(60)
    assert (folder / "pcm").exists()
    return folder


SCRATCH = """
import sys, threading
from pathlib import Path
from runtime.scratch import CLIP, scratch_folder

with scratch_folder(Path(sys.argv[1]), CLIP) as folder:
    (folder / "pcm").write_bytes(b"decoded")
    print(folder, flush=True)
    threading.Event().wait(600)
"""


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing_object": lambda here: objects(here, "playback/ada/*").unlink(),
    "missing_view": lambda here: objects(here, "results/ada/*.txt").unlink(),
    "damaged_object": lambda here: flip(objects(here, "audio/ada/*")),
    "missing_file": lambda here: data_file(here, "voices").unlink(),
    "damaged_file": lambda here: data_file(here, "turns").write_bytes(b"PAR1"),
    "repeated_row": lambda here: append_again(here, "tts_renders"),
    "row_without_owner": lambda here: append_again(here, "tool_calls", id=99, session_id="sess_none"),
    "wrong_count": lambda here: DeltaTable(Location.of(home(here)).table_uri("segments")).delete("position = 1"),
    "wrong_lexemes": lambda here: append_again(here, "turns", id=99, text="entirely different words"),
    "wrong_lease": lambda here: asyncio.run(in_work_without_a_lease(here)),
    "unprojected_job": unfinished_in_the_table,
    "orphaned_object": unnamed,
    "damaged_index": lambda here: flip(index_of(here)),
    "abandoned_scratch": left_scratch,
    "unfinished_file": lambda here: aged(here / "data" / "tables" / "turns" / "_delta_log" / "0.json#1"),
    "unreadable_table": lambda here: next((here / "data" / "tables" / "turns" / "_delta_log").glob("*.json")).write_text(
        "{not json"
    ),
}


def test_a_sound_home_has_no_finding(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(here, capsys) == (0, {})


def test_there_is_a_damage_of_every_kind() -> None:
    assert set(DAMAGES) == {kind.value for kind in Kind}


@pytest.mark.parametrize("kind", DAMAGES)
def test_planted_damage_is_found_and_named(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    DAMAGES[kind](here)
    code, said = found(here, capsys)
    assert code == 1
    assert kind in said


def test_what_can_be_mended_is_mended(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = objects(here, "results/ada/*.segments.json")
    before = view.read_bytes()
    view.unlink()
    recording = objects(here, "audio/ada/*")
    flip(recording)
    unnamed(here)
    scratch, index = left_scratch(here), index_of(here)
    flip(index)
    unfinished = here / "data" / "objects" / "tmp" / "a#1"
    unfinished.parent.mkdir(exist_ok=True)
    aged(unfinished)
    code, said = found(here, capsys, "--repair")
    assert code == 0
    assert {kind: mended for kind, (_, mended) in said.items()} == dict.fromkeys(
        ("missing_view", "damaged_object", "orphaned_object", "damaged_index", "unfinished_file", "abandoned_scratch"), True
    )
    assert not scratch.exists()
    assert not index.exists(), "the next reader makes it again"
    assert not (recording.parent / ("0" * 64)).exists()
    assert not unfinished.exists()
    assert view.read_bytes() == before
    assert not recording.exists(), "it is out of the way of the same recording sent again"
    assert (here / "data" / "objects" / "damaged" / "audio" / "ada" / recording.name).exists()
    # What was set aside is missing now, until it is sent again.
    assert found(here, capsys)[1].keys() == {"missing_object"}
