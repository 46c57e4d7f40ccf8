"""`/operator/archives`: runs over many recordings, in batches of at most 100 files. Needs a key of scope ``operator``.

Recordings are addressed by their content and transcripts are sent by batch, so all files of a batch share four calls.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from schemas.api import archives as bodies
from schemas.archives import PORTION_BYTES, Archive, ArchiveReport, ArchiveStatus, FileStatus
from schemas.domain import NewJob
from serve.gateway.auth import Operator
from serve.gateway.dependencies import Services, services
from serve.gateway.request_bodies import body_of
from serve.services.recognize_options import check_supported

router = APIRouter(prefix="/operator/archives", tags=["archives"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Archive id.")]
_After = Annotated[str | None, Query(max_length=2048, description="Key of the last file of the previous page.")]
_FINISH_MAX_BYTES = 256 * 1024 * 1024
_HEAD_MAX_BYTES = 64 * 1024


@router.post("")
async def open_archive(body: bodies.NewArchiveBody, _: Operator, s: _Services) -> Archive:
    """Open a run: a new one, or the one of the same account, kind, source and options, which is resumed."""
    await check_supported(s.engines, body.options.recognize.value())
    return await s.ledger.archives.open(body.value(), s.engine_revision)


@router.get("")
async def archives(_: Operator, s: _Services) -> bodies.Archives:
    """All runs, newest first."""
    return bodies.Archives(archives=await s.ledger.archives.all())


@router.post("/cached")
async def cached(body: bodies.QuestionsBody, _: Operator, s: _Services) -> bodies.Answered:
    """For a dry run: which recordings have a cached result. Changes nothing."""
    questions = [
        NewJob(q.account, "", "", q.sha256, 0, "", q.options.value(), use_cache=True, engine_revision=s.engine_revision)
        for q in body.files
    ]
    return bodies.Answered(cached=await s.ledger.archives.has_cached_result(questions), engine_revision=s.engine_revision)


@router.post("/select")
async def select(body: bodies.SelectBody, _: Operator, s: _Services) -> bodies.Selection:
    """Completed transcriptions for which an SQL condition holds, by id: what a reprocessing would include.

    Transcriptions without a recording are left out. Transcriptions that the present engines made are left out, unless
    `include_current` is set. One that was completed within the last second may be missing.
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
    return await s.ledger.archives.find(archive_id)


@router.post("/{archive_id}/known")
async def known(archive_id: _Id, body: bodies.KeysBody, _: Operator, s: _Services) -> bodies.Files:
    """The run's files with these keys: a finished file with an unchanged `version` need not be read again."""
    return bodies.Files(files=await s.ledger.archives.known_files(archive_id, body.keys))


@router.post("/{archive_id}/begin")
async def begin(archive_id: _Id, body: bodies.BeginBody, _: Operator, s: _Services) -> bodies.BegunFiles:
    """Lease files for work. Each is `leased`, `done`, `held` by another worker, or `needs_bytes` first."""
    files = [file.value() for file in body.files]
    stored = await s.archive_uploads.flush_stored(files)
    begun = await s.ledger.archives.begin_files(
        archive_id, body.worker, files, stored, s.engine_revision, body.retry_failed
    )
    return bodies.BegunFiles(files=begun, engine_revision=s.engine_revision)


@router.put("/{archive_id}/audio/{sha256}")
async def upload(
    archive_id: _Id,
    sha256: bodies.Sha256,
    account: Annotated[bodies.AccountName, Query(description="Account that owns the recording.")],
    request: Request,
    _: Operator,
    s: _Services,
) -> dict[str, str]:
    """Body: the bytes that have this SHA-256. They are hashed while they arrive, and stored for the account.

    They are flushed to the disk when their batch begins.
    """
    await s.ledger.archives.find(archive_id)
    await s.archive_uploads.receive(account, sha256, request.stream())
    return {"status": "stored"}


@router.post("/{archive_id}/audio")
async def upload_many(archive_id: _Id, request: Request, _: Operator, s: _Services) -> bodies.Received:
    """Body: packed `{"files": [{"account", "sha256", "size_bytes"}]}` + the bytes of these small recordings.

    For a refused recording the answer has the reason; the others are not affected.
    """
    await s.ledger.archives.find(archive_id)
    sent = await body_of(request, PORTION_BYTES + _HEAD_MAX_BYTES)
    return bodies.Received(files=await s.archive_uploads.receive_many(sent))


@router.post("/{archive_id}/renew")
async def renew(archive_id: _Id, body: bodies.RenewedBody, _: Operator, s: _Services) -> bodies.Lost:
    """Extend leases; the answer names those that are lost."""
    return bodies.Lost(lost=await s.ledger.archives.renew_files(archive_id, body.value(), body.waiting))


@router.post("/{archive_id}/release")
async def release(archive_id: _Id, body: bodies.LeasesBody, _: Operator, s: _Services) -> dict[str, str]:
    """Release files without a result; the attempt does not count."""
    await s.ledger.archives.release_files(archive_id, body.value())
    return {"status": "released"}


@router.post("/{archive_id}/finish")
async def finish(archive_id: _Id, request: Request, _: Operator, s: _Services) -> bodies.Outcomes:
    """Body: packed `{"files": [{"job_id", "lease", "transcript" | "failure", "playback_bytes"}]}` + the playback copies.

    Results and copies are written, then recorded in one commit. An invalid item gets an `error` and does not affect the
    others. Repeating a call changes nothing.
    """
    sent = await body_of(request, _FINISH_MAX_BYTES)
    return bodies.Outcomes(files=await s.archive_results.finish(archive_id, sent))


@router.post("/{archive_id}/note")
async def note(archive_id: _Id, body: bodies.NoteBody, _: Operator, s: _Services) -> dict[str, str]:
    """Record files as failed or skipped without an attempt. Completed files and files in progress are not changed."""
    await s.ledger.archives.note_files(archive_id, [file.value() for file in body.files])
    return {"status": "noted"}


@router.post("/{archive_id}/end")
async def end(archive_id: _Id, body: bodies.EndBody, _: Operator, s: _Services) -> Archive:
    """End the run: as `completed` when every file is finished, as `failed` when the run cannot continue."""
    return await s.ledger.archives.end(archive_id, ArchiveStatus(body.status), body.message)


@router.post("/{archive_id}/cancel")
async def cancel(archive_id: _Id, _: Operator, s: _Services) -> Archive:
    """Cancel a run: its unfinished jobs are cancelled and its leases lost. Opening the run again resumes it."""
    return await s.ledger.archives.cancel(archive_id)


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
    await s.ledger.archives.find(archive_id)
    found = await asyncio.to_thread(s.archives.files, archive_id, status=status, after=after, limit=limit)
    return bodies.FilePage(files=found, next_after=found[-1].key if len(found) == limit else None)


@router.get("/{archive_id}/report")
async def report(archive_id: _Id, _: Operator, s: _Services) -> ArchiveReport:
    """Counts, hours, speed as a multiple of real time, failures by reason, cost."""
    return await asyncio.to_thread(s.archives.report, await s.ledger.archives.find(archive_id))


@router.get("/{archive_id}/diff")
async def diff(archive_id: _Id, _: Operator, s: _Services, after: _After = None) -> bodies.DiffPage:
    """Old and new revisions of a reprocessing, by key: word errors, speakers, and the largest differences."""
    await s.ledger.archives.find(archive_id)
    found, next_after = await s.archive_diffs.page(archive_id, after)
    return bodies.DiffPage(files=found, next_after=next_after)
