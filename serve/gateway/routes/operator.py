"""The operator API: workers claim jobs and use the engines; operators manage keys. Needs a key of scope ``operator``.

A worker needs nothing but the gateway's URL and this key: no Ray, no access to the store.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from lakehouse.results import attempt_key, playback_key, put_result, result_keys
from schemas import wire
from schemas.domain import ApiKey, Lane, Outcome, Span, SpeakerHint, Transcript, Word
from schemas.errors import Conflict, InvalidRequest, NotFound
from schemas.times import iso
from serve.gateway.auth import Operator
from serve.gateway.bodies import body_of, well_formed
from serve.gateway.services import Services, services
from serve.slots import slot_json

router = APIRouter(prefix="/operator", tags=["operator"])

_Services = Annotated[Services, Depends(services)]
_Lease = Annotated[str, Query(max_length=200, description="The claim's lease.")]
_Lane = Annotated[Lane, Query(description="`interactive` goes ahead of `archive`.")]
_PCM_MAX_BYTES = 64 * 1024 * 1024
_FRAME_MAX_BYTES = 256 * 1024 * 1024


class NewKey(BaseModel):
    account: str = Field("default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    name: str = Field("", max_length=100)
    scopes: list[str] = Field(default_factory=lambda: ["user"], max_length=4)


class ClaimBody(BaseModel):
    worker: str = Field(min_length=1, max_length=200)
    wait_secs: float = Field(0.0, ge=0, le=55)


class FailBody(BaseModel):
    lease: str
    message: str = Field(min_length=1, max_length=2000)
    retryable: bool = False


@router.post("/jobs/claim")
async def claim(body: ClaimBody, _: Operator, s: _Services) -> dict[str, Any]:
    """The oldest waiting job under a lease, or `{"claim": null}` after `wait_secs`."""
    found = await s.ledger.claim(body.worker, body.wait_secs)
    if found is None:
        return {"claim": None}
    job = found.job
    return {
        "claim": {
            "id": job.id,
            "attempt": job.attempt,
            "lease": found.lease,
            "lease_secs": found.lease_secs,
            "filename": job.filename,
            "size_bytes": job.size_bytes,
            "sha256": job.sha256,
            "non_speech": job.options.non_speech,
            "speakers": asdict(job.options.speakers),
            "engine_revision": s.engine_revision,
        }
    }


@router.post("/jobs/{job_id}/renew")
async def renew(job_id: int, lease: _Lease, _: Operator, s: _Services) -> dict[str, float]:
    return {"lease_secs": await s.ledger.renew(job_id, lease)}


@router.post("/jobs/{job_id}/release")
async def release(job_id: int, lease: _Lease, _: Operator, s: _Services) -> dict[str, str]:
    """A worker that stops gives its job back; the attempt does not count."""
    return {"status": (await s.ledger.release(job_id, lease)).status}


@router.get("/jobs/{job_id}/audio")
async def audio(job_id: int, lease: _Lease, _: Operator, s: _Services) -> Response:
    """The very bytes the client sent."""
    job = await s.ledger.leased_job(job_id, lease)
    size = await s.objects.size(job.audio_key)
    chunks = await s.objects.open_range(job.audio_key, 0, size)
    return StreamingResponse(chunks, headers={"Content-Length": str(size)}, media_type=wire.MEDIA_TYPE)


@router.put("/jobs/{job_id}/playback")
async def playback(job_id: int, lease: _Lease, request: Request, _: Operator, s: _Services) -> dict[str, str]:
    """Store the playback copy (Ogg Opus). That of a run's file is flushed to the disk with its batch, when it ends."""
    job = await s.ledger.leased_job(job_id, lease)
    stored = await s.objects.put_stream(request.stream(), limit_bytes=s.settings.limits.max_upload_bytes)
    await s.objects.adopt(stored, playback_key(job), durably=job.archive_id is None)
    return {"status": "stored"}


@router.post("/jobs/{job_id}/complete")
async def complete(job_id: int, lease: _Lease, request: Request, _: Operator, s: _Services) -> dict[str, str]:
    """Body: a `Transcript` as JSON. The result object is written before the ledger says the job is done."""
    job = await s.ledger.leased_job(job_id, lease)
    sent = await body_of(request, _FRAME_MAX_BYTES)
    with well_formed():
        transcript = Transcript.from_json(orjson.loads(sent))
    result_key, playback = attempt_key(job, job.attempt), playback_key(job)
    await put_result(s.objects, result_key, transcript)
    outcome = Outcome.of(transcript, result_key, playback if await s.objects.exists(playback) else None)
    try:
        done = await s.ledger.complete(job_id, lease, outcome, transcript)
    except (Conflict, NotFound):
        # The job moved on, perhaps because it was deleted: its words must not stay behind.
        for key in result_keys(result_key):
            await s.objects.delete(key)
        raise
    return {"status": done.status}


@router.post("/jobs/{job_id}/fail")
async def fail(job_id: int, body: FailBody, _: Operator, s: _Services) -> dict[str, str]:
    job = await s.ledger.fail(job_id, body.lease, body.message, body.retryable)
    return {"status": job.status}


@router.post("/recognize")
async def recognize(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> dict[str, Any]:
    """Body: one utterance, s16le 16 kHz mono. Answer: `{"words": [[text, start, end, confidence]], "language"}`."""
    return wire.recognition_to_json(await s.engines.recognize(await body_of(request, _PCM_MAX_BYTES), lane))


@router.post("/diarization/observe")
async def observe(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> Response:
    """Body: packed `{"speech", "offset_secs"}` + PCM of one block. Answer: packed windows."""
    head, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    with well_formed():
        speech, offset_secs = wire.spans_from_json(head["speech"]), float(head["offset_secs"])
    windows = await s.engines.observe(bytes(tail), speech, offset_secs, lane)
    return Response(wire.windows_to_bytes([windows]), media_type=wire.MEDIA_TYPE)


@router.post("/diarization/resolve")
async def resolve(request: Request, _: Operator, s: _Services) -> dict[str, Any]:
    """Body: packed `{"speech", "speakers"}` + packed windows of all blocks.

    Answer: `{"turns": [[speaker, start, end]]}`.
    """
    head, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    with well_formed():
        hint = SpeakerHint(**head["speakers"])
        windows, speech = wire.windows_from_bytes(bytes(tail)), wire.spans_from_json(head["speech"])
    turns = await s.engines.resolve(windows, speech, hint)
    return {"turns": wire.turns_to_json(turns)}


@router.post("/events")
async def events(request: Request, _: Operator, s: _Services) -> dict[str, Any]:
    """Body: `{"speech", "words", "duration_secs", "heard"}`. Answer: `{"events": [[tag, start, end, confidence]]}`."""
    sent = await body_of(request, _FRAME_MAX_BYTES)
    with well_formed():
        body = orjson.loads(sent)
        speech: list[Span] = wire.spans_from_json(body["speech"])
        words, duration_secs = [Word(*w) for w in body["words"]], float(body["duration_secs"])
        heard = wire.events_from_json(body["heard"])
    return {"events": wire.events_to_json(await s.engines.detect_events(speech, words, duration_secs, heard))}


@router.get("/events/detector")
async def event_detector(_: Operator, s: _Services) -> dict[str, Any]:
    """What finds events, as `/operator/status` shows it: whether it listens to the sound, and its revision."""
    return (await s.engines.event_detector()).to_json()


@router.post("/events/observe")
async def observe_events(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> dict[str, Any]:
    """Body: packed `{"offset_secs"}` + PCM of one block. Answer: `{"events": [[tag, start, end, confidence]]}`."""
    head, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    with well_formed():
        offset_secs = float(head["offset_secs"])
    return {"events": wire.events_to_json(await s.engines.observe_events(bytes(tail), offset_secs, lane))}


@router.post("/keys")
async def create_key(body: NewKey, _: Operator, s: _Services) -> dict[str, Any]:
    """The answer shows the key once; only its hash is kept."""
    unknown = set(body.scopes) - {"user", "operator"}
    if unknown:
        raise InvalidRequest(f"scopes: there is no scope {sorted(unknown)[0]!r}; use user or operator", param="scopes")
    key, plain = await s.ledger.create_key(body.account, body.name, tuple(body.scopes))
    return {**_key(key), "key": plain}


@router.get("/keys")
async def list_keys(_: Operator, s: _Services) -> dict[str, Any]:
    return {"keys": [_key(k) for k in await s.ledger.list_keys()]}


@router.delete("/keys/{key_id}")
async def revoke_key(key_id: str, _: Operator, s: _Services) -> dict[str, Any]:
    return _key(await s.ledger.revoke_key(key_id))


@router.post("/maintenance/{task}")
async def maintenance(
    task: str, _: Operator, s: _Services, wait_secs: Annotated[float, Query(ge=0, le=55)] = 20.0
) -> dict[str, Any]:
    """Start `task` or join it; `{"state": "running"}` after `wait_secs`: then ask again. A repeated task does no harm."""
    report = await s.ledger.maintain(task, wait_secs)
    return {"state": "running" if report is None else "done", "report": asdict(report) if report else None}


@router.get("/status")
async def status(_: Operator, s: _Services) -> dict[str, Any]:
    """Engines and jobs, for `fluxions status`."""
    return {"engines": [slot_json(slot) for slot in await s.engines.slots()], "jobs": asdict(await s.ledger.stats())}


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_at": iso(key.created_at),
        "revoked_at": iso(key.revoked_at) if key.revoked_at else None,
    }
