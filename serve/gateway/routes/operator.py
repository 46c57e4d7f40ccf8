"""The operator API: workers claim jobs and use the engines; operators manage keys. Needs a key of scope ``operator``.

A worker needs only the gateway's URL and such a key. It needs neither Ray nor access to the store.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from schemas import wire
from schemas.api import administration as admin
from schemas.api import operator as bodies
from schemas.api.options import RecognizeBody
from schemas.api.parsing import validated, well_formed
from schemas.domain import Lane, SpeakerHint, Transcript
from serve.gateway.auth import Operator
from serve.gateway.dependencies import Services, services
from serve.gateway.request_bodies import body_of

router = APIRouter(prefix="/operator", tags=["operator"])

_Services = Annotated[Services, Depends(services)]
_Lease = Annotated[str, Query(max_length=200, description="The claim's lease.")]
_Lane = Annotated[Lane, Query(description="`interactive` is served before `interim`, and both before `archive`.")]
_PCM_MAX_BYTES = 64 * 1024 * 1024
_PEAKS_MAX_BYTES = 16 * 1024 * 1024
"""Nine days of audio."""
_FRAME_MAX_BYTES = 256 * 1024 * 1024


@router.post("/jobs/claim", response_model=bodies.ClaimAnswer)
async def claim(body: bodies.ClaimRequest, _: Operator, s: _Services) -> bodies.ClaimAnswer | Response:
    """The oldest waiting job under a lease, or `{"claim": null}` after `wait_secs`.

    With `audio_bytes` the answer is packed: this JSON, and the recording if it is not larger.
    """
    found = await s.ledger.jobs.claim(body.worker, body.wait_secs)
    job = None if found is None else bodies.ClaimedJobBody.of(found, s.engine_revision)
    answer = bodies.ClaimAnswer(claim=job)
    if not body.audio_bytes:
        return answer
    recording = b"" if found is None else await s.job_results.small_recording(found.job, body.audio_bytes)
    return Response(wire.pack(answer.model_dump(mode="json"), recording), media_type=wire.MEDIA_TYPE)


@router.post("/jobs/{job_id}/renew")
async def renew(job_id: int, lease: _Lease, _: Operator, s: _Services) -> bodies.LeaseAnswer:
    """Extend the lease."""
    return bodies.LeaseAnswer(lease_secs=await s.ledger.jobs.renew(job_id, lease))


@router.post("/jobs/{job_id}/release")
async def release(job_id: int, lease: _Lease, _: Operator, s: _Services) -> bodies.JobStatusAnswer:
    """Return the job to the queue; the attempt does not count."""
    return bodies.JobStatusAnswer(status=(await s.ledger.jobs.release(job_id, lease)).status)


@router.post("/jobs/{job_id}/progress")
async def report(
    job_id: int, lease: _Lease, body: bodies.ProgressRequest, _: Operator, s: _Services
) -> bodies.ProgressAnswer:
    """Report how far the job is.

    The answer has the number of blocks that the server has, so that the worker can send missing ones.
    """
    known = await s.ledger.jobs.report(job_id, lease, body.progress(), body.first_block, body.segments())
    return bodies.ProgressAnswer(blocks=known)


@router.get("/jobs/{job_id}/audio")
async def audio(job_id: int, lease: _Lease, _: Operator, s: _Services) -> Response:
    """The recording as the client sent it."""
    chunks, size = await s.job_results.recording(job_id, lease)
    return StreamingResponse(chunks, headers={"Content-Length": str(size)}, media_type=wire.MEDIA_TYPE)


@router.put("/jobs/{job_id}/playback")
async def playback(job_id: int, lease: _Lease, request: Request, _: Operator, s: _Services) -> bodies.StoredAnswer:
    """Store the playback copy (Ogg Opus). That of an archive's file is flushed to the disk when its batch ends."""
    await s.job_results.store_playback(job_id, lease, request.stream())
    return bodies.StoredAnswer()


@router.put("/jobs/{job_id}/peaks")
async def peaks(job_id: int, lease: _Lease, request: Request, _: Operator, s: _Services) -> bodies.StoredAnswer:
    """Store the waveform of the playback copy: one byte for each twentieth of a second, 255 for full scale."""
    await s.job_results.store_peaks(job_id, lease, await body_of(request, _PEAKS_MAX_BYTES))
    return bodies.StoredAnswer()


@router.post("/jobs/{job_id}/complete")
async def complete(job_id: int, lease: _Lease, request: Request, _: Operator, s: _Services) -> bodies.JobStatusAnswer:
    """Body: a `Transcript` as JSON. The result object is written before the job is recorded as completed."""
    sent = await body_of(request, _FRAME_MAX_BYTES)
    with well_formed():
        transcript = Transcript.from_json(orjson.loads(sent))
    done = await s.job_results.complete(job_id, lease, transcript)
    return bodies.JobStatusAnswer(status=done.status)


@router.post("/jobs/{job_id}/fail")
async def fail(job_id: int, body: bodies.FailRequest, _: Operator, s: _Services) -> bodies.JobStatusAnswer:
    """Fail the job; a retryable failure returns it to the queue while attempts are left."""
    job = await s.ledger.jobs.fail(job_id, body.lease, body.message, body.retryable, body.code)
    return bodies.JobStatusAnswer(status=job.status)


@router.post("/recognize")
async def recognize(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> bodies.RecognitionBody:
    """Body: packed `RecognizeBody` + one utterance, s16le at 16 kHz mono."""
    head, tail = wire.unpack(await body_of(request, _PCM_MAX_BYTES))
    options = validated(RecognizeBody, head).value()
    return bodies.RecognitionBody.of(await s.engines.recognize(bytes(tail), lane, options))


@router.get("/recognizer")
async def recognizer(_: Operator, s: _Services) -> bodies.EngineBody:
    """The recogniser: its revision and capabilities."""
    return bodies.EngineBody.of(await s.engines.recognizer())


@router.post("/diarization/observe")
async def observe(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> Response:
    """Body: packed `ObserveHead` + PCM of one block. Answer: packed windows."""
    sent, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    head = validated(bodies.ObserveHead, sent)
    observed = await s.engines.observe(bytes(tail), head.spans(), head.offset_secs, lane)
    body = wire.windows_to_bytes([observed.value], engine_secs=observed.engine_secs)
    return Response(body, media_type=wire.MEDIA_TYPE)


@router.post("/diarization/resolve")
async def resolve(request: Request, _: Operator, s: _Services) -> bodies.TurnsAnswer:
    """Body: packed `ResolveHead` + packed windows of all blocks."""
    sent, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    head = validated(bodies.ResolveHead, sent)
    with well_formed():
        windows = wire.windows_from_bytes(bytes(tail))
    hint = SpeakerHint(head.speakers.least, head.speakers.most)
    return bodies.TurnsAnswer.of(await s.engines.resolve(windows, head.spans(), hint))


@router.post("/events")
async def events(request: Request, _: Operator, s: _Services) -> bodies.EventsAnswer:
    """Body: `EventsRequest` as JSON, of up to 256 MiB."""
    sent = await body_of(request, _FRAME_MAX_BYTES)
    with well_formed():
        body = validated(bodies.EventsRequest, orjson.loads(sent))
    found = await s.engines.detect_events(body.spans(), body.word_values(), body.duration_secs, body.heard_values())
    return bodies.EventsAnswer.of(found)


@router.get("/events/detector")
async def event_detector(_: Operator, s: _Services) -> bodies.EngineBody:
    """The event detector: whether it analyses sound, and its revision."""
    return bodies.EngineBody.of(await s.engines.event_detector())


@router.post("/events/observe")
async def observe_events(request: Request, _: Operator, s: _Services, lane: _Lane = "interactive") -> bodies.EventsAnswer:
    """Body: packed `ObserveEventsHead` + PCM of one block."""
    sent, tail = wire.unpack(await body_of(request, _FRAME_MAX_BYTES))
    head = validated(bodies.ObserveEventsHead, sent)
    return bodies.EventsAnswer.of(await s.engines.observe_events(bytes(tail), head.offset_secs, lane))


@router.post("/maintenance/{task}")
async def maintenance(
    task: str, _: Operator, s: _Services, wait_secs: Annotated[float, Query(ge=0, le=55)] = 20.0
) -> admin.MaintenanceAnswer:
    """Start `task`, or join a run of it in progress.

    Answers `running` after `wait_secs`; then ask again. May be repeated.
    """
    report = await s.ledger.maintenance.run(task, wait_secs)
    if report is None:
        return admin.MaintenanceAnswer(state="running", report=None)
    return admin.MaintenanceAnswer(state="done", report=admin.MaintenanceBody(**asdict(report)))


@router.get("/status")
async def status(_: Operator, s: _Services) -> admin.StatusAnswer:
    """Engines and jobs, for `fluxions status`."""
    return admin.StatusAnswer(
        engines=[admin.ModelBody.of(slot) for slot in await s.engines.slots()],
        jobs=asdict(await s.ledger.maintenance.stats()),
    )
