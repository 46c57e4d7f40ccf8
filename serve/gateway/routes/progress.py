"""`/transcriptions/{id}/events` and `/cancel`: a job under way is watched and stopped; workers say how far they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from lakehouse.ledger.progress import Mark, Watched
from lakehouse.rows import job_from_row
from schemas.api.transcription import ProgressBody, SegmentBody
from schemas.domain import JobStatus, Progress, Segment, Transcript
from schemas.errors import NotFound
from serve.gateway.auth import Operator, User
from serve.gateway.services import Services, services

router = APIRouter(tags=["transcription"])

HEARTBEAT_SECS = 15.0
"""Proxies on the way close connections that are silent for long."""

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Transcription id.")]
_NO_BLOCKS = 2**31


class ReportBody(BaseModel):
    """``blocks`` are the segments of finished blocks, from number ``first_block``: `[speaker, index, text, start, end]`."""

    stage: str = Field(min_length=1, max_length=32, pattern=r"^[a-z]+$")
    fraction: float = Field(ge=0, le=1)
    eta_secs: float | None = Field(None, ge=0)
    first_block: int = Field(0, ge=0)
    blocks: list[list[tuple[int, int, str, float, float]]] = Field(default_factory=list, max_length=100_000)


class CancelledBody(BaseModel):
    id: int
    status: JobStatus


@router.post("/transcriptions/{job_id}/cancel")
async def cancel(job_id: _Id, user: User, s: _Services) -> CancelledBody:
    """Stop a job that waits or is processing; work on it ends within seconds. 409 for one that is completed or failed."""
    job = await s.ledger.cancel_job(user.account, job_id)
    return CancelledBody(id=job.id, status=job.status)


@router.get("/transcriptions/{job_id}/events", response_class=StreamingResponse)
async def events(
    job_id: _Id, user: User, s: _Services, last_event_id: Annotated[str, Header(max_length=100)] = ""
) -> StreamingResponse:
    """Server-sent events until the job is final: `status`, `progress`, `block`, `segment`.

    `block` brings the words of a stretch of a long recording as soon as they are recognised; who spoke them is known only
    when the whole is heard. `segment` brings the segments of the finished transcript. The last event is a `status`.
    """
    first_block = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
    first_block = min(first_block, _NO_BLOCKS)
    seen = await s.ledger.watch(user.account, job_id, first_block, None, 0)
    stream = _events(s, user.account, job_id, seen, first_block)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


@router.post("/operator/jobs/{job_id}/progress", tags=["operator"])
async def report(
    job_id: int, lease: Annotated[str, Query(max_length=200)], body: ReportBody, _: Operator, s: _Services
) -> dict[str, int]:
    """A worker says how far it is. Answer: how many blocks are known here, so that it sends those that are missing."""
    blocks = [tuple(Segment(*segment) for segment in block) for block in body.blocks]
    progress = Progress(body.stage, body.fraction, body.eta_secs)
    return {"blocks": await s.ledger.report(job_id, lease, progress, body.first_block, blocks)}


async def progress_of(s: Services, account: str, job_id: int) -> ProgressBody | None:
    """How far a job is; None if it is not being processed (any more)."""
    seen = await s.ledger.watch(account, job_id, _NO_BLOCKS, None, 0)
    return ProgressBody.of(seen.progress) if seen.progress else None


async def _events(s: Services, account: str, job_id: int, seen: Watched, block: int) -> AsyncGenerator[bytes, None]:
    last: Mark | None = None
    try:
        while not seen.status.is_final:
            if last is None or seen.status is not last[0]:
                yield _event("status", {"id": job_id, "status": seen.status})
            if seen.progress is not None and seen.mark != last:
                yield _event("progress", ProgressBody.of(seen.progress).model_dump())
            for segments in seen.blocks:
                yield _event("block", _block(block, segments), block + 1)
                block += 1
            if seen.mark == last:
                yield b": still here\n\n"
            last = seen.mark
            seen = await s.ledger.watch(account, job_id, block, last, HEARTBEAT_SECS)
        async for segment in _segments(s, account, job_id):
            yield segment
        yield _event("status", {"id": job_id, "status": seen.status})
    except NotFound:
        yield _event("status", {"id": job_id, "status": JobStatus.DELETED})


async def _segments(s: Services, account: str, job_id: int) -> AsyncGenerator[bytes, None]:
    row = await s.history.get("transcriptions", account, job_id)
    if row is None:
        raise NotFound(f"there is no transcription {job_id} in your account", param="id")
    job = job_from_row(row)
    if job.status is JobStatus.COMPLETED and job.result_key is not None:
        transcript = Transcript.from_json(orjson.loads(await s.objects.get_bytes(job.result_key)))
        for segment in transcript.segments:
            yield _event("segment", SegmentBody.of(segment, words=False).model_dump(exclude_none=True))


def _block(number: int, segments: tuple[Segment, ...]) -> dict[str, Any]:
    found = [{"text": s.text, "start": round(s.start_secs, 2), "end": round(s.end_secs, 2)} for s in segments]
    return {"block": number, "segments": found}


def _event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    """One server-sent event; its id is the number of blocks sent, which is where a client that comes back goes on."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"
