"""`/operator/archives`: many recordings worked on as one run, by batches of at most 100 files. Needs scope ``operator``.

Bytes go by content, transcripts by batch: the calls of a file are a share of four, whatever the run's size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from audio.sniff import refuse
from lakehouse.diffs import compare
from lakehouse.objects import at_once, audio_key
from lakehouse.rows import job_from_row
from schemas.api import archives as bodies
from schemas.archives import PORTION_BYTES, Archive, ArchiveFile, ArchiveReport, ArchiveStatus, FileStatus
from schemas.domain import Job, NewJob
from serve.gateway.auth import Operator
from serve.gateway.bodies import body_of
from serve.gateway.finishing import finish_items
from serve.gateway.receiving import check_content, receive_recordings
from serve.gateway.services import Services, services

router = APIRouter(prefix="/operator/archives", tags=["archives"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Archive id.")]
_After = Annotated[str | None, Query(max_length=2048, description="Key of the last file on the page before.")]
_FINISH_MAX_BYTES = 256 * 1024 * 1024
_HEAD_MAX_BYTES = 64 * 1024
_DIFFS_A_PAGE = 20


@router.post("")
async def open_archive(body: bodies.NewArchiveBody, _: Operator, s: _Services) -> Archive:
    """The run asked for: a new one, or the one of the same account, kind, source and options, which goes on."""
    return await s.ledger.open_archive(body.value(), s.engine_revision)


@router.get("")
async def archives(_: Operator, s: _Services) -> bodies.Archives:
    """All runs, newest first."""
    return bodies.Archives(archives=await s.ledger.list_archives())


@router.post("/cached")
async def cached(body: bodies.QuestionsBody, _: Operator, s: _Services) -> bodies.Answered:
    """For a dry run: which recordings an earlier result would answer. Changes nothing."""
    questions = [
        NewJob(q.account, "", "", q.sha256, 0, "", q.options.value(), use_cache=True, engine_revision=s.engine_revision)
        for q in body.files
    ]
    return bodies.Answered(cached=await s.ledger.answered(questions), engine_revision=s.engine_revision)


@router.post("/select")
async def select(body: bodies.SelectBody, _: Operator, s: _Services) -> bodies.Selection:
    """Completed transcriptions for which an SQL condition holds, by id: what a reprocessing would do again.

    Those the present engines made are left out, unless `include_current`; so are those without their recording. One that
    was completed within the last second may be missing.
    """
    found = await asyncio.to_thread(
        s.archives.select,
        body.where,
        body.account,
        made_by_others_than=None if body.include_current else s.engine_revision,
        after=body.after,
        limit=body.limit,
    )
    return bodies.Selection(transcriptions=found, next_after=found[-1].id if len(found) == body.limit else None)


@router.get("/{archive_id}")
async def archive(archive_id: _Id, _: Operator, s: _Services) -> Archive:
    """A run with its counts."""
    return await s.ledger.find_archive(archive_id)


@router.post("/{archive_id}/known")
async def known(archive_id: _Id, body: bodies.KeysBody, _: Operator, s: _Services) -> bodies.Files:
    """What the run knows of these keys; so a settled file whose `version` is unchanged needs no reading."""
    return bodies.Files(files=await s.ledger.known_files(archive_id, body.keys))


@router.post("/{archive_id}/begin")
async def begin(archive_id: _Id, body: bodies.BeginBody, _: Operator, s: _Services) -> bodies.BegunFiles:
    """Ask for work on files. Each is `leased`, `done`, held by another, or `needs_bytes` first."""
    files = [file.value() for file in body.files]
    keys = [audio_key(file.account, file.sha256) for file in files]
    stored = await at_once(s.objects.exists(key) for key in keys)
    await s.objects.flush([key for key, there in zip(keys, stored, strict=True) if there])
    begun = await s.ledger.begin_files(archive_id, body.worker, files, stored, s.engine_revision, body.retry_failed)
    return bodies.BegunFiles(files=begun, engine_revision=s.engine_revision)


@router.put("/{archive_id}/audio/{sha256}")
async def upload(
    archive_id: _Id,
    sha256: bodies.Sha256,
    account: Annotated[bodies.AccountName, Query(description="Whose recording it is.")],
    request: Request,
    _: Operator,
    s: _Services,
) -> dict[str, str]:
    """Body: the bytes that have this SHA-256. They are hashed while they arrive, and kept for the account.

    They are flushed to the disk with their batch, when it begins.
    """
    await s.ledger.find_archive(archive_id)
    stored = await s.objects.put_stream(request.stream(), limit_bytes=s.settings.limits.max_upload_bytes)
    try:
        refuse(stored.head, stored.size_bytes)
        check_content(stored.sha256, sha256)
    except BaseException:
        await s.objects.discard(stored)
        raise
    await s.objects.adopt(stored, audio_key(account, sha256), durably=False)
    return {"status": "stored"}


@router.post("/{archive_id}/audio")
async def upload_many(archive_id: _Id, request: Request, _: Operator, s: _Services) -> bodies.Received:
    """Body: packed `{"files": [{"account", "sha256", "size_bytes"}]}` + the bytes of these small recordings.

    One that is refused is named with the reason and spoils no other. They are flushed as those that are sent alone.
    """
    await s.ledger.find_archive(archive_id)
    sent = await body_of(request, PORTION_BYTES + _HEAD_MAX_BYTES)
    return bodies.Received(files=await receive_recordings(s, sent))


@router.post("/{archive_id}/renew")
async def renew(archive_id: _Id, body: bodies.LeasesBody, _: Operator, s: _Services) -> bodies.Lost:
    """Extend leases; the answer names those that are lost."""
    return bodies.Lost(lost=await s.ledger.renew_files(archive_id, body.value()))


@router.post("/{archive_id}/release")
async def release(archive_id: _Id, body: bodies.LeasesBody, _: Operator, s: _Services) -> dict[str, str]:
    """Hand files back untouched; that was no attempt."""
    await s.ledger.release_files(archive_id, body.value())
    return {"status": "released"}


@router.post("/{archive_id}/finish")
async def finish(archive_id: _Id, request: Request, _: Operator, s: _Services) -> bodies.Outcomes:
    """Body: packed `{"files": [{"job_id", "lease", "transcript" | "failure", "playback_bytes"}]}` + the playback copies.

    Results and copies are written, then one commit says so. One bad item fails alone: its outcome has an `error`.
    Repeating a call changes nothing.
    """
    sent = await body_of(request, _FINISH_MAX_BYTES)
    return bodies.Outcomes(files=await finish_items(s, archive_id, sent))


@router.post("/{archive_id}/note")
async def note(archive_id: _Id, body: bodies.NoteBody, _: Operator, s: _Services) -> dict[str, str]:
    """Record files that never came to work, with their reasons. What is completed or in work stays as it is."""
    await s.ledger.note_files(archive_id, [file.value() for file in body.files])
    return {"status": "noted"}


@router.post("/{archive_id}/end")
async def end(archive_id: _Id, body: bodies.EndBody, _: Operator, s: _Services) -> Archive:
    """The run is over: `completed` when every file is settled, `failed` when it cannot go on."""
    return await s.ledger.end_archive(archive_id, ArchiveStatus(body.status), body.message)


@router.post("/{archive_id}/cancel")
async def cancel(archive_id: _Id, _: Operator, s: _Services) -> Archive:
    """Stop a run: its jobs that wait or are worked on are cancelled, its leases are lost. Opened again, it goes on."""
    return await s.ledger.cancel_archive(archive_id)


@router.get("/{archive_id}/files")
async def files(
    archive_id: _Id,
    _: Operator,
    s: _Services,
    status: FileStatus | None = None,
    after: _After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> bodies.FilePage:
    """The run's files, by key."""
    await s.ledger.find_archive(archive_id)
    found = await asyncio.to_thread(s.archives.files, archive_id, status=status, after=after, limit=limit)
    return bodies.FilePage(files=found, next_after=found[-1].key if len(found) == limit else None)


@router.get("/{archive_id}/report")
async def report(archive_id: _Id, _: Operator, s: _Services) -> ArchiveReport:
    """Counts, hours, times real time, failures by reason, cost."""
    return await asyncio.to_thread(s.archives.report, await s.ledger.find_archive(archive_id))


@router.get("/{archive_id}/diff")
async def diff(archive_id: _Id, _: Operator, s: _Services, after: _After = None) -> bodies.DiffPage:
    """Old and new revision of what a reprocessing completed, by key: word errors, speakers, where they differ most."""
    await s.ledger.find_archive(archive_id)
    done = await asyncio.to_thread(
        s.archives.files, archive_id, status=FileStatus.COMPLETED, after=after, limit=_DIFFS_A_PAGE
    )
    again = [file for file in done if file.transcription_id is not None and file.revision]
    revisions = await asyncio.to_thread(s.archives.revisions, {file.transcription_id or 0 for file in again})
    found = [await compare(s.objects, file, *await _both(s, file, revisions)) for file in again]
    return bodies.DiffPage(files=found, next_after=done[-1].key if len(done) == _DIFFS_A_PAGE else None)


async def _both(s: Services, file: ArchiveFile, revisions: Mapping[tuple[int, int], Job]) -> tuple[Job | None, Job | None]:
    """The revision before the run's, and the run's own, which may be too young to be in its table."""
    job_id, made = file.transcription_id or 0, file.revision or 0
    new = revisions.get((job_id, made))
    if new is None:
        row = await s.history.get("transcriptions", file.account, job_id)
        new = job_from_row(row) if row is not None and row["revision"] == made else None
    return revisions.get((job_id, made - 1)), new
