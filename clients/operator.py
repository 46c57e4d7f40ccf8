"""The operator API over HTTP, as workers and flows use it; retries while parts of the server restart."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import BaseModel

from clients import retry
from clients.retry import Patience
from schemas import wire
from schemas.api import operator as bodies
from schemas.api.administration import MaintenanceAnswer, ModelList
from schemas.domain import (
    AS_SPOKEN,
    JobOptions,
    Lane,
    Progress,
    Recognition,
    RecognizeOptions,
    Seconds,
    Segment,
    SoundEvent,
    Span,
    SpeakerHint,
    Transcript,
    Turn,
    Word,
)
from schemas.engines import EngineInfo, VoiceWindows
from schemas.errors import DamagedObject, FluxionsError, Unavailable, error_from_response
from schemas.speech_engines import Timed
from telemetry.log_lines import request_id
from telemetry.traces import pass_on

_CHUNK_BYTES = 256 * 1024
_WITH_CLAIM_BYTES = 1024 * 1024
"""Largest recording that is sent with its job, which saves a request."""
_JSON = {"Content-Type": "application/json"}

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job leased to this worker."""

    id: int
    attempt: int
    lease: str
    lease_secs: Seconds
    filename: str
    size_bytes: int
    sha256: str
    options: JobOptions
    engine_revision: str
    account: str = ""
    recording: bytes = field(default=b"", repr=False)
    """The bytes as the client sent them, if they came with the claim."""


def is_lease_over(error: FluxionsError) -> bool:
    """Whether the worker has lost the job: it was cancelled, deleted, or claimed by another worker.

    Every other error is temporary, and finished work is kept meanwhile.
    """
    return error.code in {"lease_lost", "job_not_found"}


class OperatorClient:
    """Every call is idempotent and is tried again for ``patience_secs`` while the gateway or an engine is away.

    Raises the server's errors (`schemas.errors`), or ServerUnreachable after ``patience_secs``.
    """

    def __init__(self, url: str, key: str, *, patience_secs: float = 120.0, connections: int = 64) -> None:
        self._patience = Patience(patience_secs, 0.05, 2.0, obeys_retry_after=False)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": key},
            event_hooks={"request": [_name_request]},
            timeout=httpx.Timeout(600.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    def use_key(self, key: str) -> None:
        """Send this key from now on."""
        self._http.headers["Authorization"] = key

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def claim(self, worker: str, wait_secs: Seconds) -> ClaimedJob | None:
        """The oldest waiting job under a lease; None if there is none within ``wait_secs``."""
        request = bodies.ClaimRequest(worker=worker, wait_secs=wait_secs, audio_bytes=_WITH_CLAIM_BYTES)
        content = request.model_dump_json().encode()
        response = await self._request("POST", "/operator/jobs/claim", content=content, headers=_JSON)
        # A gateway of an earlier version sends the JSON alone.
        is_packed = response.headers["content-type"] == wire.MEDIA_TYPE
        head, recording = wire.unpack(response.content) if is_packed else (orjson.loads(response.content), b"")
        found = bodies.ClaimAnswer.model_validate(head).claim
        if found is None:
            return None
        return ClaimedJob(**{**dict(found), "options": found.options.value()}, recording=bytes(recording))

    async def renew(self, job: ClaimedJob) -> None:
        """Extend the lease. Raises Conflict if it is lost."""
        await self._json("POST", f"/operator/jobs/{job.id}/renew", params={"lease": job.lease})

    async def release(self, job: ClaimedJob) -> None:
        """Return the job to the queue; the attempt does not count."""
        await self._json("POST", f"/operator/jobs/{job.id}/release", params={"lease": job.lease})

    async def fail(self, job: ClaimedJob, message: str, code: str, *, retryable: bool) -> None:
        """Fail the job; with ``retryable`` it is tried again while attempts are left."""
        request = bodies.FailRequest(lease=job.lease, message=message, code=code, retryable=retryable)
        await self._ask(bodies.JobStatusAnswer, f"/operator/jobs/{job.id}/fail", request)

    async def report(
        self, job: ClaimedJob, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        """Report progress, and the segments of finished blocks. Returns how many blocks the server has."""
        request = bodies.ProgressRequest.of(progress, first_block, blocks)
        path, params = f"/operator/jobs/{job.id}/progress", {"lease": job.lease}
        return (await self._ask(bodies.ProgressAnswer, path, request, params)).blocks

    async def complete(self, job: ClaimedJob, transcript: Transcript) -> None:
        """Store the transcript and complete the job. Raises Conflict if the lease is lost."""
        path = f"/operator/jobs/{job.id}/complete"
        await self._json("POST", path, params={"lease": job.lease}, content=orjson.dumps(transcript.to_json()))

    async def maintain(self, task: str) -> dict[str, Any]:
        """Run a maintenance task to its end, and return its report.

        The task is started again if the ledger restarts meanwhile.
        """
        while True:
            path, params = f"/operator/maintenance/{task}", {"wait_secs": 20}
            answer = await self._ask(MaintenanceAnswer, path, params=params)
            if answer.report is not None:
                return answer.report.model_dump()

    async def fetch_audio(self, job: ClaimedJob, target: Path) -> None:
        """Write the recording to ``target``: what came with the claim, or streamed, so that memory does not grow with it.

        Raises DamagedObject if the bytes differ from those that the client sent.
        """
        if job.recording and hashlib.sha256(job.recording).hexdigest() == job.sha256:
            target.write_bytes(job.recording)  # noqa: ASYNC240 - as fast as the pieces of a stream
            return

        async def once() -> None:
            digest = hashlib.sha256()
            path, params = f"/operator/jobs/{job.id}/audio", {"lease": job.lease}
            async with self._http.stream("GET", path, params=params) as response:
                await _raise_for(response)
                with target.open("wb") as file:
                    async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                        digest.update(chunk)
                        file.write(chunk)
            if digest.hexdigest() != job.sha256:
                raise DamagedObject(
                    "the stored recording differs from what was sent: it was damaged in the store; send it again",
                    param="file",
                )

        await self._call(once)

    async def store_playback(self, job: ClaimedJob, source: Path, peaks: bytes) -> None:
        """Send the playback copy (Ogg Opus) and its waveform: 20 bytes a second, 255 for full scale."""
        await self._send_file(f"/operator/jobs/{job.id}/playback", {"lease": job.lease}, source)
        await self._request("PUT", f"/operator/jobs/{job.id}/peaks", params={"lease": job.lease}, content=peaks)

    async def utterances_at_once(self) -> int:
        """Utterances in flight that keep all recognisers busy: two full batches for each."""

        async def once() -> int:
            response = await _raise_for(await self._http.get("/v1/models"))
            models = ModelList.model_validate_json(response.content).data
            recognizer = next(model for model in models if model.slot == "recognizer")
            if recognizer.problem is not None:
                raise Unavailable(recognizer.problem)
            return 2 * recognizer.replicas * int(recognizer.capabilities["max_batch"])

        return await self._call(once)

    async def recognizer(self) -> EngineInfo:
        """The recogniser: its revision and capabilities."""
        return (await self._get(bodies.EngineBody, "/operator/recognizer")).value()

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """Recognise one utterance, s16le at 16 kHz mono."""
        content = wire.pack(asdict(options), pcm)
        found = await self._send(bodies.RecognitionBody, "/operator/recognize", content, {"lane": lane})
        return found.value()

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "interactive"
    ) -> Timed[VoiceWindows]:
        """Speaker features of one block, s16le at 16 kHz mono; ``speech`` is in seconds from the block's start."""
        body = wire.pack(bodies.ObserveHead.of(speech, offset_secs).model_dump(), pcm)
        response = await self._request("POST", "/operator/diarization/observe", params={"lane": lane}, content=body)
        head, _ = wire.unpack(response.content)
        return Timed(wire.windows_from_bytes(response.content)[0], head["engine_secs"])

    async def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint
    ) -> Timed[list[Turn]]:
        """Turns of the whole recording from the features of all its blocks."""
        head = {"speech": wire.spans_to_json(speech), "speakers": asdict(hint)}
        content = wire.pack(head, wire.windows_to_bytes(windows))
        return (await self._send(bodies.TurnsAnswer, "/operator/diarization/resolve", content)).value()

    async def event_detector(self) -> EngineInfo:
        """The event detector: whether it analyses audio, and its revision."""
        return (await self._get(bodies.EngineBody, "/operator/events/detector")).value()

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> Timed[list[SoundEvent]]:
        """Events in the audio of one block, s16le at 16 kHz mono."""
        content = wire.pack(bodies.ObserveEventsHead(offset_secs=offset_secs).model_dump(), pcm)
        found = await self._send(bodies.EventsAnswer, "/operator/events/observe", content, {"lane": lane})
        return found.value()

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> Timed[list[SoundEvent]]:
        """Events of the whole recording, from its speech, its words, and the events ``heard`` in its blocks."""
        request = bodies.EventsRequest.of(speech, words, duration_secs, heard)
        return (await self._ask(bodies.EventsAnswer, "/operator/events", request)).value()

    async def _get(self, answer: type[M], path: str) -> M:
        return answer.model_validate_json((await self._request("GET", path)).content)

    async def _ask(
        self, answer: type[M], path: str, request: BaseModel | None = None, params: dict[str, Any] | None = None
    ) -> M:
        """POST ``request`` as JSON."""
        content = None if request is None else request.model_dump_json().encode()
        response = await self._request("POST", path, params=params, content=content, headers=_JSON)
        return answer.model_validate_json(response.content)

    async def _send(self, answer: type[M], path: str, content: bytes, params: dict[str, Any] | None = None) -> M:
        """POST a packed body."""
        return answer.model_validate_json((await self._request("POST", path, params=params, content=content)).content)

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        return orjson.loads((await self._request(method, path, **options)).content)

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            return await _raise_for(await self._http.request(method, path, **options))

        return await self._call(once)

    async def _send_file(self, path: str, params: dict[str, Any], source: Path) -> None:
        """PUT a file as a streamed body."""

        async def chunks() -> AsyncIterator[bytes]:
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

        async def once() -> None:
            await _raise_for(await self._http.put(path, params=params, content=chunks()))

        await self._call(once)

    async def _call(self, once: Callable[[], Awaitable[T]]) -> T:
        return await retry.call_async(once, self._patience, idempotent=True, server=str(self._http.base_url))


async def _name_request(request: httpx.Request) -> None:
    """Add headers with the id of the present job, which gateway and engines write into log lines, and with the trace to
    continue.
    """
    if found := request_id.get():
        request.headers["X-Request-Id"] = found
    pass_on(request.headers)


async def _raise_for(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    body = await response.aread()
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None  # an error page of HAProxy
    raise error_from_response(response.status_code, decoded)
