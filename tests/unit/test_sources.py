"""Folders, globs and manifests as streams; what cannot be used is reported with its line, and nothing else is lost."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.factory import batches, canonical, open_source
from flows.archives.sources.fetch import fetch, opened, version
from flows.archives.sources.local import FolderSource, GlobSource
from flows.archives.sources.manifest import ManifestSource
from schemas.domain import JobOptions, RecognizeOptions, SpeakerHint
from schemas.errors import FluxionsError, InvalidRequest, NotFound, PayloadTooLarge

pytestmark = pytest.mark.unit


def entries(found: Iterable[Entry | Problem]) -> list[Entry]:
    return [one for one in found if isinstance(one, Entry)]


def problems(found: Iterable[Entry | Problem]) -> dict[str, str]:
    """Message by place."""
    return {one.place: one.message for one in found if isinstance(one, Problem)}


def manifest(folder: Path, text: str, name: str = "calls.csv", options: JobOptions | None = None) -> list[Entry | Problem]:
    (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return list(ManifestSource(folder / name, options or JobOptions()))


def test_a_folder_gives_all_below_it_in_order_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("b.wav", "a.txt", "deep/er/c.mp3", ".hidden.wav", ".git/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    found = list(open_source(str(tmp_path), JobOptions()))
    assert [Path(e.location).relative_to(tmp_path.resolve()).as_posix() for e in entries(found)] == [
        "a.txt",
        "b.wav",
        "deep/er/c.mp3",
    ]
    assert len(entries(found)) == len(found)


def test_a_glob_reaches_into_folders(tmp_path: Path) -> None:
    for name in ("a.wav", "b.mp3", "deep/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = entries(open_source(f"{tmp_path}/**/*.wav", JobOptions()))
    assert sorted(e.filename for e in found) == ["a.wav", "c.wav"]
    assert all(Path(e.location).is_absolute() for e in found)


@pytest.mark.parametrize("text", ["no/such/folder", "ftp://host/x", "s3://", "https://example.org/a.wav", "missing.csv"])
def test_what_is_no_source_is_refused_by_name(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((NotFound, InvalidRequest)) as caught:
        list(open_source(text, JobOptions()))
    assert text in caught.value.message


def test_one_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(InvalidRequest, match="fluxions transcribe"):
        open_source(str(tmp_path / "a.wav"), JobOptions())


def test_a_source_is_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical("calls") == str(tmp_path / "calls")
    assert canonical("s3://bucket/calls") == "s3://bucket/calls"


def test_a_manifest_s_rows_carry_names_accounts_options_and_columns_of_their_own(tmp_path: Path) -> None:
    text = (
        "\ufeffpath,filename,account,non_speech,max_speakers,agent,case\n"
        'a.wav,first.wav,acme,yes,3,"Ann, B.",17\n'
        "sub/b.wav,,,,,,\n"
        "https://example.org/calls/c%20d.mp3?sig=1,,,,2,Zoë,\n"
        "s3://bucket/e.flac,,,,,,\n"
    )
    first, second, web, bucket = entries(manifest(tmp_path, text, options=JobOptions(True, SpeakerHint(1, 9))))
    assert first == Entry(
        str(tmp_path / "a.wav"),
        "first.wav",
        "acme",
        JobOptions(True, SpeakerHint(1, 3)),
        {"agent": "Ann, B.", "case": "17"},
        "line 2",
    )
    assert (second.location, second.filename, second.account) == (str(tmp_path / "sub/b.wav"), "b.wav", None)
    assert second.options is None
    assert (web.filename, web.options) == ("c d.mp3", JobOptions(True, SpeakerHint(1, 2)))
    assert web.metadata["agent"] == "Zoë"
    assert (bucket.location, bucket.filename) == ("s3://bucket/e.flac", "e.flac")
    assert Entry.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_a_row_tells_the_recogniser_what_the_run_does_not(tmp_path: Path) -> None:
    text = (
        "path,language,prompt,keyterms,task,strict,audio_track\n"
        "a.wav,es,,Marta Ruiz; Iker,translate,yes,0\n"
        "b.wav,,Dr. Smith.,,,,\n"
        "c.wav,Spanish,,,,,\n"
        "d.wav,,,,sing,,\n"
        "e.wav,,,,,maybe,\n"
        "f.wav,,,,,,second\n"
        "g.wav,,,,,,-1\n"
    )
    run = JobOptions(True, recognize=RecognizeOptions("en", keyterms=("Ray",)), audio_track=3)
    found = manifest(tmp_path, text, options=run)
    first, second = entries(found)
    assert first.options == JobOptions(
        True, recognize=RecognizeOptions("es", "", ("Marta Ruiz", "Iker"), "translate"), strict=True, audio_track=0
    )
    assert second.options == JobOptions(True, recognize=RecognizeOptions("en", "Dr. Smith.", ("Ray",)), audio_track=3)
    assert Entry.from_json(json.loads(json.dumps(first.to_json()))) == first
    told = problems(found)
    wrong = ["language", "task", "strict", "audio_track", "audio_track"]
    assert [told[f"line {n}"].partition(":")[0] for n in range(4, 9)] == wrong


def test_every_bad_row_is_reported_with_its_line_and_good_ones_continue(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "path,url,account,non_speech,min_speakers,max_speakers",
            "a.wav,,,,,",
            ",,,,,",
            "b.wav,https://example.org/b.wav,,,,",
            ",nonsense,,,,",
            "c.wav,,no spaces allowed,,,",
            "d.wav,,,perhaps,,",
            "e.wav,,,,many,",
            "f.wav,,,,4,2",
            "g.wav,,,",
            "./a.wav,,,,,",
            "h\udcff.wav,,,,,",
            '"quoted"wrong,,,,,',
            "",
            "z.wav,,,,,",
        ]
    )
    found = manifest(tmp_path, text)
    assert [e.filename for e in entries(found)] == ["a.wav", "z.wav"]
    told = problems(found)
    assert set(told) == {f"line {n}" for n in range(3, 14)}
    assert "neither url nor path" in told["line 3"]
    assert "give one" in told["line 4"]
    assert "'nonsense'" in told["line 5"]
    assert told["line 6"].startswith("account")
    assert told["line 7"].startswith("non_speech")
    assert told["line 8"].startswith("min_speakers")
    assert told["line 9"].startswith("max_speakers")
    assert "4 fields" in told["line 10"]
    assert "stands at line 2 already" in told["line 11"]
    assert "UTF-8" in told["line 12"]
    assert "no CSV" in told["line 13"]
    assert len({p.location for p in found if isinstance(p, Problem)}) == 11


@pytest.mark.parametrize(
    ("text", "named"),
    [("", "empty"), ("name,agent\nx,y\n", "`name`, `agent`"), ("path,agent,agent\n", "two columns `agent`")],
)
def test_a_manifest_without_its_columns_is_refused(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        manifest(tmp_path, text)
    assert caught.value.code == "manifest_columns"


def test_a_parquet_manifest_keeps_types_that_json_knows(tmp_path: Path) -> None:
    table = pa.table(
        {
            "path": ["a.wav", None, "b.wav"],
            "max_speakers": pa.array([2, None, None], pa.int32()),
            "non_speech": [True, None, None],
            "case": [17, 18, 19],
            "at": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)] * 3,
            "tags": [["x"], [], None],
        }
    )
    pq.write_table(table, tmp_path / "calls.parquet")
    found = list(open_source(str(tmp_path / "calls.parquet"), JobOptions()))
    first, last = entries(found)
    assert first.options == JobOptions(True, SpeakerHint(1, 2))
    assert first.metadata == {"case": 17, "at": "2026-01-02T00:00:00+00:00", "tags": ["x"]}
    assert (last.place, last.options) == ("row 3", None)
    assert problems(found) == {"row 2": "it names neither url nor path"}


def test_a_parquet_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InvalidRequest, match="cannot be read as a manifest"):
        list(ManifestSource(tmp_path / "calls.parquet", JobOptions()))


async def test_a_manifest_is_read_as_its_rows_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("path\n" + "".join(f"calls/{n}.wav\n" for n in range(20_000)))
    stream = batches(ManifestSource(path, JobOptions()), lambda: 50)
    assert len(await anext(stream)) == 50
    with path.open("a") as file:
        file.write("calls/last.wav\n")
    rest = [one async for batch in stream for one in entries(batch)]
    assert (len(rest), rest[-1].filename) == (19_951, "last.wav")


async def test_fetching_hashes_what_it_copies_and_names_what_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound" * 1000)
    target = tmp_path / "copy"
    fetched = await fetch(Entry(str(tmp_path / "a.wav"), "a.wav"), target, 10_000)
    assert (fetched.sha256, fetched.size_bytes) == (hashlib.sha256(b"sound" * 1000).hexdigest(), 5000)
    assert target.read_bytes() == b"sound" * 1000
    for location, error in ((tmp_path / "gone.wav", NotFound), (tmp_path, FluxionsError)):
        with pytest.raises(error, match=location.name):
            await fetch(Entry(str(location), "x"), target, 10_000)
    with pytest.raises(PayloadTooLarge, match=r"a\.wav"):
        await fetch(Entry(str(tmp_path / "a.wav"), "a.wav"), target, 4_999)


async def test_a_version_changes_with_the_file(tmp_path: Path) -> None:
    entry = Entry(str(tmp_path / "a.wav"), "a.wav")
    (tmp_path / "a.wav").write_bytes(b"one")
    first = await version(entry)
    assert first == await version(entry)
    (tmp_path / "a.wav").write_bytes(b"other")
    assert await version(entry) != first
    with opened(entry) as found:
        assert found is not None
        read, size = found
        assert (await asyncio.to_thread(read, 2, 9), size) == (b"her", 5)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(NotFound):
        await version(entry)


async def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (entry,) = entries(FolderSource(tmp_path))
    async with asyncio.timeout(60):
        for work in (version(entry), fetch(entry, tmp_path / "copy", 1000), asyncio.to_thread(opened(entry).__enter__)):
            with pytest.raises(InvalidRequest, match="is no file but a folder, a pipe") as caught:
                await work
            assert caught.value.code == "not_a_file"


async def test_a_name_of_foreign_bytes_is_listed_and_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9 [1].wav")).write_bytes(b"bytes")
    for source in (FolderSource(folder), GlobSource(f"{folder}/*")):
        (entry,) = source
        assert isinstance(entry, Entry)
        assert entry.filename == "café [1].wav"
        assert Entry.from_json(orjson.loads(orjson.dumps(entry.to_json()))) == entry
        assert await version(entry)
        fetched = await fetch(entry, tmp_path / "copy", 100)
        assert (fetched.path.read_bytes(), fetched.filename) == (b"bytes", None)
