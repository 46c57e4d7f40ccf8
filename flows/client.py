"""How workers and flows speak to the gateway: the operator API over HTTP, patient while parts of the server restart."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from schemas import wire
from schemas.domain import (
    Lane,
    Progress,
    Recognition,
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
from schemas.errors import FluxionsError, ServerUnreachable, Unavailable, error_from_response

_CHUNK_BYTES = 256 * 1024
_FIRST_PAUSE_SECS = 0.05
_LONGEST_PAUSE_SECS = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job as the gateway hands it to a worker."""

    id: int
    attempt: int
    lease: str
    lease_secs: Seconds
    filename: str
    size_bytes: int
    sha256: str
    non_speech: bool
    speakers: SpeakerHint
    engine_revision: str


class OperatorClient:
    """Every call is idempotent and is tried again for ``patience_secs`` while the gateway or an engine is away.

    Raises the server's own errors (`schemas.errors`), or ServerUnreachable when patience ends.
    """

    def __init__(self, url: str, key: str, *, patience_secs: float = 120.0, connections: int = 64) -> None:
        self._patience_secs = patience_secs
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": key},
            timeout=httpx.Timeout(600.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def claim(self, worker: str, wait_secs: Seconds) -> ClaimedJob | None:
        body = {"worker": worker, "wait_secs": wait_secs}
        found = (await self._json("POST", "/operator/jobs/claim", json=body))["claim"]
        return ClaimedJob(**{**found, "speakers": SpeakerHint(**found["speakers"])}) if found else None

    async def renew(self, job: ClaimedJob) -> None:
        await self._json("POST", f"/operator/jobs/{job.id}/renew", params={"lease": job.lease})

    async def release(self, job: ClaimedJob) -> None:
        await self._json("POST", f"/operator/jobs/{job.id}/release", params={"lease": job.lease})

    async def fail(self, job: ClaimedJob, message: str, *, retryable: bool) -> None:
        body = {"lease": job.lease, "message": message, "retryable": retryable}
        await self._json("POST", f"/operator/jobs/{job.id}/fail", json=body)

    async def report(
        self, job: ClaimedJob, progress: Progress, first_block: int, blocks: Sequence[tuple[Segment, ...]]
    ) -> int:
        """Say how far the work is, and segments of finished blocks; gives how many blocks the server knows."""
        rows = [[[s.speaker, s.segment_idx, s.text, s.start_secs, s.end_secs] for s in block] for block in blocks]
        body = {**asdict(progress), "first_block": first_block, "blocks": rows}
        path, params = f"/operator/jobs/{job.id}/progress", {"lease": job.lease}
        return int((await self._json("POST", path, params=params, json=body))["blocks"])

    async def complete(self, job: ClaimedJob, transcript: Transcript) -> None:
        path = f"/operator/jobs/{job.id}/complete"
        await self._json("POST", path, params={"lease": job.lease}, content=orjson.dumps(transcript.to_json()))

    async def maintain(self, task: str) -> dict[str, Any]:
        """Do a maintenance task and wait until it is done; its report. Begins anew if the ledger restarts meanwhile."""
        while True:
            answer = await self._json("POST", f"/operator/maintenance/{task}", params={"wait_secs": 20})
            if answer["state"] == "done":
                return dict(answer["report"])

    async def fetch_audio(self, job: ClaimedJob, target: Path) -> None:
        """Stream the recording to ``target``; memory does not grow with its size."""

        async def once() -> None:
            path, params = f"/operator/jobs/{job.id}/audio", {"lease": job.lease}
            async with self._http.stream("GET", path, params=params) as response:
                await _raise_for(response)
                with target.open("wb") as file:
                    async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                        file.write(chunk)

        await self._patiently(once)

    async def store_playback(self, job: ClaimedJob, source: Path) -> None:
        await self._send_file(f"/operator/jobs/{job.id}/playback", {"lease": job.lease}, source)

    async def utterances_at_once(self) -> int:
        """Utterances that keep all recognisers busy: for each, what it works on at once, and as much again to follow."""

        async def once() -> int:
            models = orjson.loads((await _raise_for(await self._http.get("/v1/models"))).content)["data"]
            recognizer = next(model for model in models if model["slot"] == "recognizer")
            if not recognizer["ready"]:
                raise Unavailable(recognizer["problem"])
            return 2 * int(recognizer["replicas"]) * int(recognizer["capabilities"]["max_batch"])

        return await self._patiently(once)  # type: ignore[no-any-return]

    async def recognize(self, pcm: bytes, lane: Lane = "interactive") -> Recognition:
        """``pcm``: one utterance, s16le 16 kHz mono."""
        path, params = "/operator/recognize", {"lane": lane}
        return wire.recognition_from_json(await self._json("POST", path, params=params, content=pcm))

    async def observe(
        self, pcm: bytes, speech: Sequence[Span], offset_secs: Seconds, lane: Lane = "interactive"
    ) -> VoiceWindows:
        """Speaker evidence of one block; ``speech`` counts from the block's start."""
        body = wire.pack({"speech": wire.spans_to_json(speech), "offset_secs": offset_secs}, pcm)
        response = await self._request("POST", "/operator/diarization/observe", params={"lane": lane}, content=body)
        return wire.windows_from_bytes(response.content)[0]

    async def resolve(self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint) -> list[Turn]:
        """Turns of the whole recording from the evidence of all its blocks."""
        packed = wire.windows_to_bytes(windows)
        body = wire.pack({"speech": wire.spans_to_json(speech), "speakers": asdict(hint)}, packed)
        return wire.turns_from_json((await self._json("POST", "/operator/diarization/resolve", content=body))["turns"])

    async def event_detector(self) -> EngineInfo:
        """What finds events: whether it listens, and the revision that what it hears is kept by."""
        return EngineInfo(**await self._json("GET", "/operator/events/detector"))

    async def observe_events(self, pcm: bytes, offset_secs: Seconds, lane: Lane = "interactive") -> list[SoundEvent]:
        """What an engine that listens hears in one block."""
        path, body = "/operator/events/observe", wire.pack({"offset_secs": offset_secs}, pcm)
        return wire.events_from_json((await self._json("POST", path, params={"lane": lane}, content=body))["events"])

    async def detect_events(
        self, speech: Sequence[Span], words: Sequence[Word], duration_secs: Seconds, heard: Sequence[SoundEvent]
    ) -> list[SoundEvent]:
        """Events of the whole recording: from speech, words, and what was ``heard`` in its blocks."""
        body = {
            "speech": wire.spans_to_json(speech),
            "words": [[w.text, w.start_secs, w.end_secs, w.confidence] for w in words],
            "duration_secs": duration_secs,
            "heard": wire.events_to_json(heard),
        }
        return wire.events_from_json((await self._json("POST", "/operator/events", content=orjson.dumps(body)))["events"])

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        return orjson.loads((await self._request(method, path, **options)).content)

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            return await _raise_for(await self._http.request(method, path, **options))

        return await self._patiently(once)  # type: ignore[no-any-return]

    async def _send_file(self, path: str, params: dict[str, Any], source: Path) -> None:
        """PUT a file as the body, streamed."""

        async def chunks() -> AsyncIterator[bytes]:
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

        async def once() -> None:
            await _raise_for(await self._http.put(path, params=params, content=chunks()))

        await self._patiently(once)

    async def _patiently(self, once: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_secs
        pause = _FIRST_PAUSE_SECS
        while True:
            try:
                return await once()
            except httpx.TransportError as error:
                if loop.time() > deadline:
                    raise ServerUnreachable(f"the gateway does not answer ({type(error).__name__})") from error
            except FluxionsError as error:
                if not error.retryable or loop.time() > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_SECS)


async def _raise_for(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    body = await response.aread()
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None  # HAProxy's own page
    raise error_from_response(response.status_code, decoded)
