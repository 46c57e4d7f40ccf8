"""`/transcriptions/{id}/events` and `/cancel`: the progress of a job as server-sent events, and its cancellation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path
from fastapi.responses import StreamingResponse

from lakehouse.ledger.progress import Watched
from schemas.api.transcription import CancelledBody, ProgressBody, SegmentBody
from schemas.domain import JobStatus, Segment
from schemas.errors import NotFound
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.services.transcriptions import NO_BLOCKS, JobView

router = APIRouter(tags=["transcription"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Transcription id.")]


@router.post("/transcriptions/{job_id}/cancel")
async def cancel(job_id: _Id, user: User, s: _Services) -> CancelledBody:
    """Stop a waiting or processing job; its processing ends within seconds. 409 for a completed or failed job."""
    job = await s.ledger.jobs.cancel(user.account, job_id)
    return CancelledBody(id=job.id, status=job.status)


@router.get("/transcriptions/{job_id}/events", response_class=StreamingResponse)
async def events(
    job_id: _Id, user: User, s: _Services, last_event_id: Annotated[str, Header(max_length=100)] = ""
) -> StreamingResponse:
    """Server-sent events until the job is final: `status`, `progress`, `block`, `segment`.

    `block` has the words of a window as soon as it and all before it are recognised; their speakers are known only at the
    end. `segment` has a segment of the finished transcript. The last event is a `status`, or an `error` once the key is
    no longer valid.
    """
    first_block = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
    following = s.transcriptions.follow(user.account, job_id, min(first_block, NO_BLOCKS))
    first = await anext(following)
    stream = _events(s, user.account, job_id, first, following)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _events(
    s: Services, account: str, job_id: int, seen: JobView, following: AsyncGenerator[JobView, None]
) -> AsyncGenerator[bytes, None]:
    last: Watched | None = None
    try:
        async with aclosing(following):
            while not seen.watched.status.is_final:
                for event in _changes(job_id, seen, last):
                    yield event
                last = seen.watched
                seen = await anext(following)
        async for segment in _segments(s, account, job_id):
            yield segment
        yield _event("status", {"id": job_id, "status": seen.watched.status})
    except NotFound:
        yield _event("status", {"id": job_id, "status": JobStatus.DELETED})


def _changes(job_id: int, seen: JobView, last: Watched | None) -> Iterator[bytes]:
    """Events for what has changed since ``last``; a comment if nothing has."""
    now = seen.watched
    if last is None or now.status is not last.status:
        yield _event("status", {"id": job_id, "status": now.status})
    if now.progress is not None and (last is None or now.watch_token != last.watch_token):
        yield _event("progress", ProgressBody.of(now.progress).model_dump())
    for number, segments in enumerate(now.blocks, seen.first_block):
        yield _event("block", _block(number, segments), number + 1)
    if last is not None and now.watch_token == last.watch_token:
        yield b": still here\n\n"


async def _segments(s: Services, account: str, job_id: int) -> AsyncGenerator[bytes, None]:
    transcript = await s.transcriptions.transcript(await s.transcriptions.get(account, job_id))
    for segment in transcript.segments if transcript is not None else ():
        yield _event("segment", SegmentBody.of(segment, words=False).model_dump(exclude_none=True))


def _block(number: int, segments: tuple[Segment, ...]) -> dict[str, Any]:
    found = [{"text": s.text, "start": round(s.start_secs, 2), "end": round(s.end_secs, 2)} for s in segments]
    return {"block": number, "segments": found}


def _event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    """One server-sent event; its id is the number of blocks sent, so that a client that reconnects continues there."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"
