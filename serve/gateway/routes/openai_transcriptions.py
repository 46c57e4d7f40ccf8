"""`/v1/audio/transcriptions` and `/v1/audio/translations`: synchronous transcription for OpenAI's clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from formats.subtitles import SubtitleStyle, srt, vtt
from schemas.api.errors import error_body
from schemas.api.openai_forms import TranscriptionForm, TranslationForm
from schemas.api.openai_transcripts import (
    DiarizedBody,
    TextBody,
    VerboseBody,
    event,
    text_of,
)
from schemas.api.transcription import SegmentBody
from schemas.domain import Job, JobOptions, RecognizeOptions
from schemas.errors import FluxionsError
from serve.gateway.audio_responses import CLIENT_CLOSED, ClientGone, until_gone
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.idempotency import is_taken_over, submission_name
from serve.gateway.openai_route import OpenAIRoute
from serve.gateway.openai_uploads import chunks, file_name, form_schema, uploaded, valid_form
from serve.services.openai_transcriptions import NamedTranscript, ResponseOptions
from serve.services.request_fields import at_field
from serve.services.transcriptions import Submission

_SUBTITLES: dict[str, Callable[..., str]] = {"srt": srt, "vtt": vtt}


router = APIRouter(prefix="/v1/audio", tags=["openai"], route_class=OpenAIRoute)

_Services = Annotated[Services, Depends(services)]


@router.post("/transcriptions", response_class=Response, openapi_extra=form_schema(TranscriptionForm, "file"))
async def transcriptions(request: Request, user: User, s: _Services) -> Response:
    """OpenAI's transcription route: a multipart form with `file` and `model`; see docs/openai.md for the fields."""
    async with uploaded(request, "file") as (file, values):
        form = valid_form(TranscriptionForm, values)
        hints = RecognizeOptions(form.spoken_language, form.prompt.strip(), form.keywords)
        options = JobOptions(recognize=hints, audio_track=form.audio_track)
        headers = {"x-fluxions-model": s.model_names.serving(form.model, "recognizer")}
        known = await s.openai_transcriptions.known_speakers(user.account, form)
        job = await _begun(s, request, user.account, file, options)
    answer = ResponseOptions(form, "transcribe", known)
    headers["x-transcription-id"] = str(job.id)
    if form.stream:
        headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(s, job, answer, request.state.request_id), media_type="text/event-stream", headers=headers
        )
    return await _answer(s, job, answer, request, headers)


@router.post("/translations", response_class=Response, openapi_extra=form_schema(TranslationForm, "file"))
async def translations(request: Request, user: User, s: _Services) -> Response:
    """OpenAI's translation route, into English: a multipart form with `file` and `model`."""
    async with uploaded(request, "file") as (file, values):
        form = valid_form(TranslationForm, values)
        hints = RecognizeOptions(None, form.prompt.strip(), task="translate")
        options = JobOptions(recognize=hints, audio_track=form.audio_track)
        headers = {"x-fluxions-model": s.model_names.serving(form.model, "recognizer")}
        job = await _begun(s, request, user.account, file, options)
    answer = ResponseOptions(TranscriptionForm.model_validate(values), "translate")
    headers["x-transcription-id"] = str(job.id)
    return await _answer(s, job, answer, request, headers)


async def _begun(s: Services, request: Request, account: str, file: UploadFile, options: JobOptions) -> Job:
    submission = Submission(
        account=account,
        filename=file_name(file),
        content_type=(file.content_type or "application/octet-stream")[:255],
        options=options,
        size_bytes=file.size,
        name=submission_name(request),
        is_repeated=is_taken_over(request),
    )
    with at_field("file"):
        return await s.awaited.begin(submission, chunks(file))


async def _answer(s: Services, job: Job, options: ResponseOptions, request: Request, headers: dict[str, str]) -> Response:
    try:
        found = await until_gone(request.receive, s.openai_transcriptions.finished(job, options))
    except ClientGone:
        # The job continues: the client finds the result in history, and a repeated request joins the job.
        return Response(status_code=CLIENT_CLOSED)
    return _rendered(found, options, headers)


def _rendered(found: NamedTranscript, options: ResponseOptions, headers: dict[str, str]) -> Response:
    form, transcript = options.form, found.transcript
    body: BaseModel
    match form.response_format:
        case "text":
            return PlainTextResponse(text_of(transcript) + "\n", headers=headers)
        case "srt" | "vtt":
            segments = [SegmentBody.of(segment, words=True) for segment in transcript.segments]
            text = _SUBTITLES[form.response_format](segments, SubtitleStyle(speakers="never"))
            return PlainTextResponse(text, headers=headers)
        case "json":
            body = TextBody.of(transcript, logprobs=bool(form.include))
        case "verbose_json":
            body = VerboseBody.of(transcript, options.task, form.timestamp_granularities, form.temperature)
        case "diarized_json":
            body = DiarizedBody.of(transcript, found.names)
    return JSONResponse(body.model_dump(exclude_none=True), headers=headers)


async def _events(s: Services, job: Job, options: ResponseOptions, request_id: str) -> AsyncGenerator[bytes, None]:
    """The events as bytes; an error ends the stream as an event."""
    try:
        async for body in s.openai_transcriptions.events(job, options):
            yield b": still here\n\n" if body is None else event(body)
    except FluxionsError as error:
        yield event(error_body(error, request_id).model_dump())
        return
    yield b"data: [DONE]\n\n"
