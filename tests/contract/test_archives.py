"""`/operator/archives` as a flow's client and others meet it: every answer, and every refusal by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from clients.archives import ArchiveClient, BegunFile, Question
from schemas import wire
from schemas.archives import (
    Archive,
    ArchiveKind,
    ArchiveStatus,
    BeginState,
    EndedFile,
    FileFailure,
    FileStatus,
    NewArchive,
    NotedFile,
    SourceFile,
)
from schemas.domain import JobOptions, SpeakerHint
from schemas.errors import Conflict, Forbidden, InvalidParameter, InvalidRequest, NotFound
from schemas.settings import LimitSettings, ServerSettings, Settings, StorageSettings
from tests.contract.gateway import OPERATOR_KEY, USER_KEY, Running, running
from tests.support.archive_kit import again, said, source, wav
from tests.support.lakehouse_kit import until_projected

pytestmark = pytest.mark.contract

RUN = NewArchive("default", "summer", "/recordings", options=JobOptions(True, SpeakerHint(2, 4)))


def recording(name: str) -> SourceFile:
    return source(name, account="default")


async def client_of(gateway: Running, key: str) -> ArchiveClient:
    client = ArchiveClient("http://gateway", key, patience_secs=0)
    await client._http.aclose()
    client._http = gateway.client(key)
    return client


@pytest.fixture
async def archives(gateway: Running) -> AsyncIterator[ArchiveClient]:
    client = await client_of(gateway, OPERATOR_KEY)
    yield client
    await client.close()


async def begin(client: ArchiveClient, archive: Archive, files: Sequence[SourceFile], folder: Path) -> list[BegunFile]:
    """Files leased to worker ``w``, their bytes sent where they were asked for."""
    for one in await client.begin(archive.id, "w", files):
        if one.state is BeginState.NEEDS_BYTES:
            path = folder / "upload.wav"
            path.write_bytes(wav(one.source.filename.removesuffix(".wav")))
            await client.upload(archive.id, one.source.account, one.source.sha256, path)
    return await client.begin(archive.id, "w", files)


def ended(one: BegunFile, text: str) -> EndedFile:
    assert one.job is not None
    return EndedFile(one.job.id, one.job.lease, said(text, one.job.engine_revision))


async def test_a_run_from_its_opening_to_its_report(
    archives: ArchiveClient, gateway: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    archive = await archives.open_archive(RUN)
    assert (archive.options, archive.status, archive.counts.total) == (RUN.options, ArchiveStatus.RUNNING, 0)
    assert await archives.open_archive(replace(RUN, name="the same by another name")) == archive
    files = [recording("a"), recording("b"), recording("c")]
    assert {one.state for one in await archives.begin(archive.id, "w", files)} == {BeginState.NEEDS_BYTES}
    begun = await begin(archives, archive, files, tmp_path)
    assert await archives.begin(archive.id, "w", files) == begun
    assert {one.state for one in await archives.begin(archive.id, "other", files)} == {BeginState.HELD}
    job = begun[0].job
    assert job is not None
    assert (await client.get(f"/transcriptions/{job.id}")).json()["status"] == "processing"
    await archives.fetch_audio(job, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == wav("a")
    playback = tmp_path / "playback"
    playback.write_bytes(b"OggS and so on")
    await archives.store_playback(job, playback, bytes(4))
    first = replace(ended(begun[0], "words of a"), playback=archives.playback(job.lease))
    assert await archives.renew_files(archive.id, {job.id: job.lease, 99: "none"}) == {99}
    assert begun[1].job is not None
    refused = EndedFile(begun[1].job.id, begun[1].job.lease, FileFailure("not_audio", "This is a picture."))
    outcomes = await archives.finish(archive.id, [first, refused, ended(begun[2], "words of c")])
    assert [o.status for o in outcomes] == [FileStatus.COMPLETED, FileStatus.FAILED, FileStatus.COMPLETED]
    noted = NotedFile("/recordings/d", "line 7", "default", "d", FileFailure("duplicate", "It was named before."), True)
    await archives.note(archive.id, [noted])
    done = (await client.get(f"/transcriptions/{job.id}")).json()
    assert (done["status"], done["text"], done["audio_format"]) == ("completed", "words of a", "opus")
    async with gateway.client(USER_KEY) as http:
        heard = await http.get(done["audio_url"])
    assert heard.content == b"OggS and so on"
    assert {f.filename: f.status async for f in archives.files(archive.id)} == {
        "a.wav": FileStatus.COMPLETED,
        "b.wav": FileStatus.FAILED,
        "c.wav": FileStatus.COMPLETED,
        "d": FileStatus.SKIPPED,
    }
    assert [f.key async for f in archives.files(archive.id, FileStatus.SKIPPED)] == ["/recordings/d"]
    assert set(await archives.known(archive.id, ["/recordings/a.wav", "/recordings/z.wav"])) == {"/recordings/a.wav"}
    report = await archives.archive_report(archive.id)
    assert (report.archive.counts.completed, report.hours) == (2, pytest.approx(4.5 / 3600))
    assert {(f.reason, f.count) for f in report.failures} == {("not_audio", 1), ("duplicate", 1)}
    assert report.x_realtime is not None
    assert report.x_realtime == pytest.approx(4.5 / report.active_secs, rel=0.01)
    questions = [Question("default", files[0].sha256), Question("other", files[0].sha256)]
    assert (await archives.answered(questions))[0] == [True, False]
    assert (await archives.end_archive(archive.id, ArchiveStatus.COMPLETED)).counts.total == 4
    assert [(a.id, a.status) for a in await archives.archives()] == [(archive.id, ArchiveStatus.COMPLETED)]


async def test_reprocessing_shows_the_new_words_under_the_same_id(
    archives: ArchiveClient, gateway: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    first = await archives.open_archive(RUN)
    (begun,) = await begin(archives, first, [recording("a")], tmp_path)
    (outcome,) = await archives.finish(first.id, [ended(begun, "the old words")])
    await until_projected(gateway.ledger)
    run = NewArchive("default", "", "where true", ArchiveKind.REPROCESS, include_current=True)
    second = await archives.open_archive(run)
    (leased,) = await archives.begin(second.id, "w", [again(outcome.job_id, recording("a"))])
    assert leased.job is not None
    await archives.fetch_audio(leased.job, tmp_path / "fetched")
    (done,) = await archives.finish(second.id, [ended(leased, "the new words")])
    assert done.error is None
    body = (await client.get(f"/transcriptions/{outcome.job_id}")).json()
    assert (body["text"], body["status"]) == ("the new words", "completed")
    assert (await client.get("/transcriptions")).json()["total"] == 1
    (diff,) = [one async for one in archives.diff(second.id)]
    assert (diff.errors, diff.old_words, diff.problem) == (1, 3, None)
    assert [(d.old, d.new) for d in diff.differences] == [("old", "new")]


async def test_bytes_are_stored_only_under_their_own_hash(archives: ArchiveClient, tmp_path: Path) -> None:
    archive = await archives.open_archive(RUN)
    path = tmp_path / "sent"
    path.write_bytes(wav("a"))
    with pytest.raises(Conflict) as other:
        await archives.upload(archive.id, "default", recording("b").sha256, path)
    assert other.value.code == "other_content"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(InvalidRequest, match="PNG"):
        await archives.upload(archive.id, "default", recording("b").sha256, path)
    assert (await archives.begin(archive.id, "w", [recording("b")]))[0].state is BeginState.NEEDS_BYTES


async def test_small_recordings_travel_together_and_are_refused_alone(
    archives: ArchiveClient, gateway: Running, tmp_path: Path
) -> None:
    archive = await archives.open_archive(RUN)
    contents = {"a": wav("a"), "b": wav("a"), "c": b"\x89PNG\r\n\x1a\n" + bytes(100), "d": wav("d")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [replace(recording(name), size_bytes=len(content)) for name, content in contents.items()]
    refusals = await archives.upload_many(
        archive.id, [(one, tmp_path / name) for one, name in zip(files, contents, strict=True)]
    )
    assert [one and one.reason for one in refusals] == [None, "other_content", "not_audio", None]
    begun = await archives.begin(archive.id, "w", files)
    assert [one.state for one in begun] == [
        BeginState.LEASED,
        BeginState.NEEDS_BYTES,
        BeginState.NEEDS_BYTES,
        BeginState.LEASED,
    ]
    assert begun[3].job is not None
    await archives.fetch_audio(begun[3].job, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == wav("d")


async def test_a_recording_over_the_upload_limit_is_refused_among_small_ones(tmp_path: Path) -> None:
    settings = Settings(
        server=ServerSettings(home=tmp_path / "home"),
        storage=StorageSettings(fsync=False),
        limits=LimitSettings(max_upload_bytes=len(wav("a")) - 1),
    )
    (tmp_path / "a").write_bytes(wav("a"))
    async with running(tmp_path / "home", settings) as gateway:
        archives = await client_of(gateway, OPERATOR_KEY)
        archive = await archives.open_archive(RUN)
        one = replace(recording("a"), size_bytes=len(wav("a")))
        (refusal,) = await archives.upload_many(archive.id, [(one, tmp_path / "a")])
        await archives.close()
    assert refusal is not None
    assert refusal.reason == "payload_too_large"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"\x02\x00\x00\x00{}", "files"),
        (wire.pack({"files": []}), "files"),
        (wire.pack({"files": [{"account": "a b", "sha256": "0" * 64, "size_bytes": 0}]}), "files.0.account"),
        (wire.pack({"files": [{"account": "a", "sha256": "0" * 64, "size_bytes": 2}]}, b"x"), "2 bytes"),
    ],
)
async def test_a_body_that_holds_no_recordings_is_refused(
    archives: ArchiveClient, gateway: Running, body: bytes, words: str
) -> None:
    archive = await archives.open_archive(RUN)
    async with gateway.client(OPERATOR_KEY) as http:
        answer = await http.post(f"/operator/archives/{archive.id}/audio", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_one_bad_item_of_a_batch_fails_alone(archives: ArchiveClient, gateway: Running, tmp_path: Path) -> None:
    archive = await archives.open_archive(RUN)
    begun = await begin(archives, archive, [recording("a"), recording("b")], tmp_path)
    jobs = [one.job for one in begun if one.job is not None]
    good = {"job_id": jobs[0].id, "lease": jobs[0].lease, "transcript": said("fine").to_json()}
    torn = {"job_id": jobs[1].id, "lease": jobs[1].lease, "transcript": {"text": "no more than this"}}
    both = {**good, "failure": {"reason": "x", "message": "y"}}
    async with gateway.client(OPERATOR_KEY) as http:
        body = wire.pack({"files": [torn, good, both, "what"]})
        answer = await http.post(f"/operator/archives/{archive.id}/finish", content=body)
        longer = wire.pack({"files": [{**good, "playback_bytes": 5}]}, b"four")
        refused = await http.post(f"/operator/archives/{archive.id}/finish", content=longer)
    assert refused.json()["error"]["code"] == "bad_frame"
    errors = [(file["status"], file["error"]) for file in answer.json()["files"]]
    assert errors == [(None, "bad_frame"), ("completed", None), (None, "bad_frame"), (None, "bad_frame")]


async def test_a_lost_lease_leaves_no_words_behind(archives: ArchiveClient, gateway: Running, tmp_path: Path) -> None:
    archive = await archives.open_archive(RUN)
    (begun,) = await begin(archives, archive, [recording("a")], tmp_path)
    assert begun.job is not None
    async with gateway.client() as http:
        await http.delete(f"/transcriptions/{begun.job.id}")
    (refused,) = await archives.finish(archive.id, [ended(begun, "not to be kept")])
    assert refused.error == "lease_lost"
    assert [key async for key, _ in gateway.services.objects.list("results")] == []


def _begin_body(**changes: Any) -> dict[str, Any]:
    file = {"key": "k", "version": "", "location": "", "account": "default", "filename": "f", "sha256": "0" * 64}
    return {"worker": "w", "files": [{**file, "size_bytes": 1, **changes}]}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"source": ""}, "source"),
        ("", {"source": "x", "account": "a b"}, "account"),
        ("", {"source": "x", "options": {"speakers": {"least": 3, "most": 2}}}, "options.speakers"),
        ("", {"source": "x", "colour": 1}, "colour"),
        ("/1/begin", _begin_body(sha256="nonsense"), "files.0.sha256"),
        ("/1/begin", _begin_body(metadata="[]"), "files.0.metadata"),
        ("/1/begin", {**_begin_body(), "files": _begin_body()["files"] * 2}, "files"),
        ("/1/begin", {**_begin_body(), "files": []}, "files"),
        ("/1/known", {"keys": ["k"] * 101}, "keys"),
        ("/1/end", {"status": "running"}, "status"),
        ("/select", {"where": "nonsense = 1"}, "where"),
        ("/select", {"where": "id = 1; select 1"}, "where"),
    ],
)
async def test_bad_input_is_named(gateway: Running, path: str, body: dict[str, Any], param: str) -> None:
    async with gateway.client(OPERATOR_KEY) as http:
        answer = await http.post(f"/operator/archives{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


async def test_runs_that_are_not_and_runs_that_have_ended(archives: ArchiveClient, gateway: Running) -> None:
    with pytest.raises(NotFound):
        await archives.archive(7)
    archive = await archives.open_archive(RUN)
    async with gateway.client(OPERATOR_KEY) as http:
        answer = await http.post(f"/operator/archives/{archive.id}/cancel")
    assert answer.json()["status"] == ArchiveStatus.CANCELLED
    with pytest.raises(Conflict) as refusal:
        await archives.begin(archive.id, "w", [recording("a")])
    assert refusal.value.code == "archive_ended"
    with pytest.raises((InvalidRequest, InvalidParameter)):
        await archives.finish(archive.id, [EndedFile(1, "x", FileFailure("NOT A CODE", ""))] * 101)
    stranger = await client_of(gateway, USER_KEY)
    with pytest.raises(Forbidden):
        await stranger.archives()
    await stranger.close()
