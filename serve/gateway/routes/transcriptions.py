"""`/submit`, `/transcriptions`: a recording goes in, a transcript comes out."""

from __future__ import annotations

import uuid
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from audio.sniff import refuse
from lakehouse.objects import audio_key
from lakehouse.rows import job_from_row
from schemas.api.transcription import (
    DeletedBody,
    QueryUrls,
    SubmitResponse,
    TranscriptionBody,
    TranscriptionItem,
    TranscriptionList,
)
from schemas.domain import Job, JobOptions, JobStatus, NewJob, Transcript
from schemas.errors import NotFound, PayloadTooLarge
from schemas.speakers import MOST_SPEAKERS, speaker_hint
from schemas.times import iso
from serve.gateway.auth import User
from serve.gateway.routes.progress import progress_of
from serve.gateway.services import Services, services

router = APIRouter(tags=["transcription"])

_Services = Annotated[Services, Depends(services)]
_Speakers = Annotated[int, Field(ge=1, le=MOST_SPEAKERS)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Transcription id.")]


@router.post("/submit")
@router.post("/akro/submit")
async def submit(
    request: Request,
    user: User,
    s: _Services,
    non_speech: Annotated[bool, Query(description="Include non-speech sounds.")] = False,
    filename: Annotated[str, Query(min_length=1, max_length=255, description="Name for the uploaded file.")] = "audio",
    cache: Annotated[bool, Query(description="Use cached results for identical files.")] = True,
    num_speakers: Annotated[_Speakers | None, Query(description="How many people speak, if that is known.")] = None,
    min_speakers: Annotated[_Speakers | None, Query(description="At least so many people speak.")] = None,
    max_speakers: Annotated[_Speakers | None, Query(description="At most so many people speak.")] = None,
) -> SubmitResponse:
    """Send a recording as the raw body; get a job id at once and poll its status."""
    speakers = speaker_hint(num_speakers, min_speakers, max_speakers)
    limit = s.settings.limits.max_upload_bytes
    if int(request.headers.get("content-length") or 0) > limit:
        raise PayloadTooLarge(f"the recording is larger than the {limit} bytes accepted here; split it or compress it")
    stored = await s.objects.put_stream(request.stream(), limit_bytes=limit)
    try:
        refuse(stored.head, stored.size_bytes)
    except BaseException:
        await s.objects.discard(stored)
        raise
    key = audio_key(user.account, stored.sha256)
    await s.objects.adopt(stored, key)
    job = await s.ledger.create_job(
        NewJob(
            account=user.account,
            filename=filename,
            content_type=request.headers.get("content-type", "application/octet-stream")[:255],
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            audio_key=key,
            options=JobOptions(non_speech, speakers),
            use_cache=cache,
            engine_revision=s.engine_revision,
            submission=uuid.uuid4().hex,
        )
    )
    here = f"{s.settings.server.url}/transcriptions/{job.id}"
    return SubmitResponse(
        id=job.id,
        status=job.status,
        created_at=iso(job.created_at),
        original_audio_url=await s.signed_url(job.audio_key, job.filename),
        query_urls=QueryUrls(get=here, status=here),
        cached=job.cached,
    )


@router.get("/transcriptions/{job_id}", response_model_exclude_none=True)
async def get_transcription(
    job_id: _Id,
    user: User,
    s: _Services,
    word_level_timestamps: Annotated[bool, Query(description="Include word-level timestamps in segments.")] = False,
) -> TranscriptionBody:
    """One job: its status and, when completed, the transcript with speakers and times."""
    row = await s.history.get("transcriptions", user.account, job_id)
    if row is None:
        raise NotFound(f"there is no transcription {job_id} in your account", param="id")
    job = job_from_row(row)
    transcript = await _transcript(s, job)
    audio_url = await s.signed_url(job.playback_key, f"{job.id}.opus") if job.playback_key else None
    body = TranscriptionBody.of(job, transcript, audio_url, words=word_level_timestamps)
    if job.status is JobStatus.PROCESSING:
        body.progress = await progress_of(s, user.account, job_id)
    return body


@router.delete("/transcriptions/{job_id}")
async def delete_transcription(job_id: _Id, user: User, s: _Services) -> DeletedBody:
    """Delete a job in any state, for good: recording, result and rows are erased within seconds.

    Older versions of the tables lose them at the next vacuum.
    """
    await s.ledger.delete_job(user.account, job_id)
    return DeletedBody(id=job_id)


@router.get("/transcriptions")
async def list_transcriptions(
    user: User,
    s: _Services,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of results per page.")] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31, description="Pagination offset.")] = 0,
) -> TranscriptionList:
    """Your jobs, newest first."""
    found = await s.history.slice("transcriptions", user.account, offset, limit)
    jobs = [job_from_row(row) for row in found.rows]
    items = [TranscriptionItem.of(job, await _original_url(s, job)) for job in jobs]
    return TranscriptionList(total=found.total, limit=limit, offset=offset, transcriptions=items)


async def _original_url(s: Services, job: Job) -> str | None:
    """None for a transcription that was brought in without its recording."""
    return await s.signed_url(job.audio_key, job.filename) if job.audio_key else None


async def _transcript(s: Services, job: Job) -> Transcript | None:
    if job.status is not JobStatus.COMPLETED or job.result_key is None:
        return None
    return Transcript.from_json(orjson.loads(await s.objects.get_bytes(job.result_key)))
