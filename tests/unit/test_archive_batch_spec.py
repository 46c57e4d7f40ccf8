"""What batches of an archive are told, how files are named, when nothing is to be done about one, and the report's text."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from flows.archives.batch_spec import BatchSpec, begun_file, is_settled, key_of, new_archive, noted_problem, source_file
from flows.archives.coordinator import batch_files
from flows.archives.report import markdown, to_json
from flows.archives.sources.entries import Entry, Problem
from flows.archives.sources.fetch import Fetched
from schemas.archives import (
    CANCELLED_WITH_RUN,
    Archive,
    ArchiveCounts,
    ArchiveFile,
    ArchiveKind,
    ArchiveReport,
    ArchiveStatus,
    FailureGroup,
    FileStatus,
    NewArchive,
)
from schemas.domain import JobOptions, SpeakerHint
from schemas.errors import NotFound

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
SECRET = "https://ann:word@example.org/calls/a.wav?signature=secret"


def spec_of(*entries: Entry) -> BatchSpec:
    return BatchSpec(3, "default", JobOptions(True, SpeakerHint(1, 2)), "token-7", True, entries)


def known(status: FileStatus, **changes: object) -> ArchiveFile:
    file = ArchiveFile(
        archive_id=3,
        key="/a.wav",
        version="10-5",
        location="/a.wav",
        account="default",
        filename="a.wav",
        metadata="{}",
        status=status,
        updated_at=NOW,
        sha256="0" * 64,
        size_bytes=10,
        transcription_id=8,
    )
    return replace(file, **changes)  # type: ignore[arg-type]


def test_an_order_is_the_same_after_its_way_to_a_worker() -> None:
    entry = Entry("/a.wav", "a.wav", "acme", JobOptions(False, SpeakerHint(2, None)), {"agent": "Zoë"}, "line 2", "10-5")
    told = spec_of(entry, Entry("s3://bucket/b.wav", "b.wav"))
    file = source_file(told, entry, Fetched(Path("/tmp/copy"), "0" * 64, 10), "10-5")
    told = replace(told, files=(file,))
    assert BatchSpec.loads(told.dumps()) == told


def test_a_key_names_place_and_owner_and_no_secret() -> None:
    assert key_of(Entry("/a.wav", "a.wav")) == "/a.wav"
    assert key_of(Entry("/a.wav", "a.wav", "acme")) == "acme@/a.wav"
    first, second = key_of(Entry(SECRET, "a.wav")), key_of(Entry(SECRET + "2", "a.wav"))
    assert first.startswith("https://example.org/calls/a.wav#")
    assert first != second
    assert len(key_of(Entry("/" + "x" * 4000, "x"))) <= 2048
    file = source_file(spec_of(), Entry(SECRET, "n" * 300, place="line 2"), Fetched(Path("/tmp/copy"), "0" * 64, 10), "")
    assert file.location == "line 2: https://example.org/calls/a.wav"
    assert len(file.filename) == 255
    assert not [value for value in (first, file.location, file.key) if "secret" in value or "word" in value]


@pytest.mark.parametrize(
    ("file", "version", "retry", "settled"),
    [
        (known(FileStatus.COMPLETED), "10-5", True, True),
        (known(FileStatus.COMPLETED), "10-6", False, False),
        (known(FileStatus.COMPLETED, version=""), "", False, False),
        (known(FileStatus.FAILED, reason="truncated_audio"), "10-5", False, True),
        (known(FileStatus.FAILED, reason="truncated_audio"), "10-5", True, False),
        (known(FileStatus.SKIPPED, reason="not_audio"), "10-5", True, True),
        (known(FileStatus.SKIPPED, reason=CANCELLED_WITH_RUN), "10-5", False, False),
        (known(FileStatus.WAITING), "10-5", False, False),
        (known(FileStatus.PROCESSING), "10-5", False, False),
    ],
)
def test_a_settled_file_that_is_unchanged_is_left_alone(
    file: ArchiveFile, version: str, retry: bool, settled: bool
) -> None:
    assert is_settled(file, version, retry_failed=retry) is settled


def test_only_a_file_that_was_begun_can_go_on_without_its_source() -> None:
    begun = begun_file(known(FileStatus.WAITING), ArchiveKind.TRANSCRIBE, JobOptions())
    assert begun is not None
    assert (begun.sha256, begun.transcription_id) == ("0" * 64, None)
    revising = begun_file(known(FileStatus.WAITING), ArchiveKind.REPROCESS, JobOptions())
    assert revising is not None
    assert revising.transcription_id == 8
    assert begun_file(known(FileStatus.WAITING, sha256=None), ArchiveKind.TRANSCRIBE, JobOptions()) is None
    assert begun_file(known(FileStatus.COMPLETED), ArchiveKind.TRANSCRIBE, JobOptions()) is None


def test_batches_grow_with_the_run_up_to_what_one_call_may_name() -> None:
    assert [batch_files(50, seen, 2) for seen in (0, 2_000, 3_000, 4_000, 100_000)] == [50, 50, 75, 100, 100]
    assert [batch_files(50, seen, 20) for seen in (4_000, 30_000)] == [50, 75]
    assert batch_files(1, 19, 1) == 1


def test_one_child_decodes_for_one_account() -> None:
    mine, yours = Entry("/calls/a.wav", "a.wav"), Entry("/calls/b.wav", "b.wav", account="acme")
    assert spec_of(mine).accounts == {"default"}
    assert spec_of(mine, yours).accounts == {"default", "acme"}
    assert spec_of(yours).accounts == {"acme"}


def test_a_condition_may_begin_with_where_and_a_source_must_be_there(tmp_path: Path) -> None:
    options = {"reprocess": True, "include_current": False}
    asked = new_archive("  WHERE id > 3", "default", "", JobOptions(), **options)
    assert asked == NewArchive("default", "id > 3", "id > 3", ArchiveKind.REPROCESS)
    assert new_archive("whereabouts = 'x'", "default", "", JobOptions(), **options).source == "whereabouts = 'x'"
    with pytest.raises(NotFound):
        new_archive(str(tmp_path / "gone"), "default", "", JobOptions(), reprocess=False, include_current=False)
    made = new_archive(str(tmp_path), "default", "n" * 300, JobOptions(), reprocess=False, include_current=False)
    assert (made.source, len(made.name)) == (str(tmp_path), 200)


def test_a_row_that_is_no_entry_is_noted_by_its_line() -> None:
    (bad, twice) = noted_problem(
        "default",
        [
            Problem("/calls.csv#line7", "invalid_row", "it names neither url nor path", "line 7"),
            Problem("/calls.csv#line8", "duplicate_path", "/a.wav stands at line 2 already", "line 8"),
        ],
    )
    assert (bad.key, bad.location, bad.skipped) == ("/calls.csv#line7", "line 7: /calls.csv", False)
    assert twice.skipped


def test_the_report_is_a_table_that_no_name_breaks() -> None:
    counts = ArchiveCounts(completed=7, failed=1, skipped=2, cached=3, audio_secs=1800.0, cost_usd=0.08)
    archive = Archive(
        3, "default", "a | b\nc", ArchiveKind.TRANSCRIBE, "/calls", JobOptions(), False, "f", "engines@1",
        ArchiveStatus.COMPLETED, NOW, NOW, counts=counts,
    )  # fmt: skip
    failure = FailureGroup(FileStatus.FAILED, "truncated_audio", 1, "/calls/a|b.wav", "it is cut\noff")
    report = ArchiveReport(archive, 360.0, 5.0, (failure,))
    text = markdown(report)
    assert text.startswith("# Archive 3: a \\| b c\n")
    assert "| completed | 7 (3 from cache) |" in text
    assert "| speed | 5.0 × real time over 360 s |" in text
    assert "| failed | truncated_audio | 1 | /calls/a\\|b.wav | it is cut off |" in text
    told = to_json(report)
    assert (told["files"], told["hours"], told["failures"][0]["reason"]) == (10, 0.5, "truncated_audio")
