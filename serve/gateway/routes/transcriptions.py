"""`/submit` and `/transcriptions`: recordings in, transcripts out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from formats.subtitles import SubtitleStyle
from formats.transcript_files import FileFormat
from schemas.api.parsing import validated, well_formed
from schemas.api.transcription import (
    DeletedBody,
    ProgressBody,
    QueryUrls,
    SubmitResponse,
    SubmitUrl,
    TranscriptionBody,
    TranscriptionItem,
    TranscriptionList,
)
from schemas.domain import Job
from schemas.errors import InvalidParameter
from schemas.times import iso
from serve.gateway.audio_responses import CLIENT_CLOSED, ClientGone, until_gone
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.gate import declared_bytes
from serve.gateway.idempotency import is_taken_over, submission_name
from serve.gateway.request_bodies import body_of
from serve.gateway.submit_query import UNNAMED, SubmitQuery
from serve.gateway.transcript_responses import subtitle_style, transcript_file
from serve.services.recording_uploads import with_header
from serve.services.transcriptions import Submission

router = APIRouter(tags=["transcription"])

_ANY_TYPE = "application/octet-stream"
_JSON_BYTES = 64 * 1024
_WAIT_MOST_SECS: Final = 55.0
"""Proxies close requests that are silent for a minute."""
_RAW_BODY = {"requestBody": {"required": True, "content": {_ANY_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}
_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Transcription id.")]


@router.post("/submit", response_model_exclude_none=True, openapi_extra=_RAW_BODY)
@router.post("/akro/submit", response_model_exclude_none=True, openapi_extra=_RAW_BODY)
async def submit(
    request: Request,
    user: User,
    s: _Services,
    query: Annotated[SubmitQuery, Query()],
) -> SubmitResponse:
    """Send a recording as the raw body; get a job id at once and poll its status.

    Or send `{"url": …}` as `application/json`: the response comes once the server of the URL has answered, and the job
    shows the progress of the download.
    """
    remote, query = await _remote(request, query)
    options, raw = query.options(), query.raw_format()
    submission = Submission(
        account=user.account,
        # The client's file name has precedence over the name that the recording's server gives.
        filename="" if remote is not None and query.filename == UNNAMED else query.filename,
        content_type=_ANY_TYPE if remote is not None else request.headers.get("content-type", _ANY_TYPE)[:255],
        options=options,
        use_cache=query.cache,
        size_bytes=None if remote is not None else declared_bytes(request.headers),
        name=submission_name(request),
        is_repeated=is_taken_over(request),
    )

    def as_file(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks if raw is None else with_header(chunks, raw)

    async with AsyncExitStack() as stack:
        secret = None
        if query.callback_url:
            secret = await stack.enter_async_context(s.webhooks.callback(user.account, query.callback_url, submission.name))
        if remote is not None:
            count = partial(s.client_limits.take_bytes, user)
            job = await s.remote_submissions.submit(submission, remote.url, count, as_file)
        else:
            chunks = await stack.enter_async_context(aclosing(request.stream()))
            job = await s.transcriptions.submit(submission, as_file(chunks))
    here = f"{s.settings.server.url}/transcriptions/{job.id}"
    return SubmitResponse(
        id=job.id,
        status=job.status,
        created_at=iso(job.created_at),
        original_audio_url=await _original_url(s, job),
        query_urls=QueryUrls(get=here, status=here),
        cached=job.cached,
        callback_secret=secret,
    )


async def _remote(request: Request, query: SubmitQuery) -> tuple[SubmitUrl | None, SubmitQuery]:
    """The URL in a JSON body, and the options of query and body; None for other bodies.

    An option in the query has precedence over the same option in the body. Raises InvalidRequest, InvalidParameter.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return None, query
    sent = await body_of(request, _JSON_BYTES)
    with well_formed():
        body = orjson.loads(sent)
        remote = validated(SubmitUrl, body)
        options = {name: value for name, value in body.items() if name != "url"}
        known = {field.alias or name for name, field in SubmitQuery.model_fields.items()}
        if strange := sorted(options.keys() - known):
            raise InvalidParameter(f"{strange[0][:80]}: there is no such option", param=strange[0][:80])
        return remote, validated(SubmitQuery, options | query.model_dump(by_alias=True, exclude_unset=True))


@router.get("/transcriptions/{job_id}", response_model=TranscriptionBody, response_model_exclude_none=True)
async def get_transcription(
    request: Request,
    job_id: _Id,
    user: User,
    s: _Services,
    style: Annotated[SubtitleStyle, Depends(subtitle_style)],
    word_level_timestamps: Annotated[bool, Query(description="Include word-level timestamps in segments.")] = False,
    fmt: Annotated[FileFormat | None, Query(alias="format", description="A file of this kind instead of JSON.")] = None,
    name_speakers: Annotated[bool, Query(description="Name the speakers that your account knows.")] = False,
    wait_secs: Annotated[float, Query(ge=0, le=_WAIT_MOST_SECS, description="Wait so long for the job to end.")] = 0.0,
) -> TranscriptionBody | Response:
    """One job: its status and, when completed, the transcript with speakers and times.

    With `format` the response is a file, and a job that is not completed is a 409. With `wait_secs` the response comes when
    the job is over, or after this time.
    """
    asking = s.transcriptions.state(user.account, job_id, wait_secs)
    try:
        seen = await (until_gone(request.receive, asking) if wait_secs else asking)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    job = seen.job
    transcript = await s.transcriptions.transcript(job)
    names = await s.speakers.names(job, transcript) if name_speakers and transcript is not None else {}
    if fmt is not None:
        return transcript_file(job, transcript, fmt, style, names)
    audio_url = await s.signed_url(job.playback_key, f"{job.id}.opus") if job.playback_key else None
    body = TranscriptionBody.of(job, transcript, audio_url, words=word_level_timestamps)
    if name_speakers and transcript is not None:
        body.name_speakers(names)
    body.progress = ProgressBody.of(seen.progress) if seen.progress else None
    return body


@router.delete("/transcriptions/{job_id}")
async def delete_transcription(job_id: _Id, user: User, s: _Services) -> DeletedBody:
    """Delete a job in any state, permanently: recording, result and rows are erased within seconds.

    The next vacuum removes the rows from older versions of the tables.
    """
    await s.ledger.jobs.delete(user.account, job_id)
    return DeletedBody(id=job_id)


@router.get("/transcriptions")
async def list_transcriptions(
    user: User,
    s: _Services,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of results per page.")] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31, description="Pagination offset.")] = 0,
) -> TranscriptionList:
    """Your jobs, newest first."""
    jobs, total = await s.transcriptions.page(user.account, offset, limit)
    items = [TranscriptionItem.of(job, await _original_url(s, job)) for job in jobs]
    return TranscriptionList(total=total, limit=limit, offset=offset, transcriptions=items)


async def _original_url(s: Services, job: Job) -> str | None:
    """URL of the recording as it was sent.

    None for an imported transcription, which has no recording, and while a recording is still being fetched.
    """
    return await s.signed_url(job.audio_key, job.filename) if job.audio_key else None
