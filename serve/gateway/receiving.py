"""Taking in a batch of small recordings: each hashed and looked at, then all that may be kept written at once."""

from __future__ import annotations

import asyncio
import hashlib

from pydantic import ValidationError

from audio.sniff import HEAD_BYTES, refuse
from lakehouse.objects import audio_key
from schemas import wire
from schemas.api.archives import RecordingBody, RecordingsBody, Refusal
from schemas.errors import Conflict, FluxionsError, InvalidRequest, PayloadTooLarge
from serve.gateway.bodies import first_problem
from serve.gateway.services import Services


async def receive_recordings(s: Services, body: bytes) -> list[Refusal | None]:
    """One answer each, in order; a recording that is refused spoils no other. Raises InvalidRequest for no such body.

    What is stored is flushed to the disk with its batch, when it begins.
    """
    head, tail = wire.unpack(body)
    try:
        files = RecordingsBody.model_validate(head).files
    except ValidationError as error:
        raise InvalidRequest(first_problem(error), code="bad_frame") from error
    recordings = wire.portions(tail, [file.size_bytes for file in files])
    limit_bytes = s.settings.limits.max_upload_bytes
    refusals = await asyncio.to_thread(lambda: [_refusal(*one, limit_bytes) for one in zip(files, recordings, strict=True)])
    taken = [n for n, refused in enumerate(refusals) if refused is None]
    await s.objects.write_many({audio_key(files[n].account, files[n].sha256): bytes(recordings[n]) for n in taken})
    return refusals


def check_content(sha256: str, declared: str) -> None:
    """Raises Conflict(code="other_content") for bytes that are others than they were said to be."""
    if sha256 != declared:
        raise Conflict(f"these bytes have the SHA-256 {sha256}, not {declared}", code="other_content")


def _refusal(file: RecordingBody, recording: memoryview, limit_bytes: int) -> Refusal | None:
    try:
        if len(recording) > limit_bytes:
            raise PayloadTooLarge(f"the recording is larger than the {limit_bytes} bytes accepted")
        refuse(bytes(recording[:HEAD_BYTES]), len(recording))
        check_content(hashlib.sha256(recording).hexdigest(), file.sha256)
    except FluxionsError as error:
        return Refusal(error=error.code, message=error.message)
    return None
