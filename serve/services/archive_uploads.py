"""Uploads of an archive's recordings, one in a body or many."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

from pydantic import ValidationError

from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES
from lakehouse.storage.objects import Objects, at_once, audio_key
from schemas import wire
from schemas.api.archives import RecordingBody, RecordingsBody, Refusal
from schemas.api.parsing import first_problem
from schemas.archives import SourceFile
from schemas.errors import Conflict, FluxionsError, InvalidRequest, PayloadTooLarge
from serve.services.recording_uploads import recording_bytes


class ArchiveUploads:
    """Checks recordings and stores them under their content hash.

    An upload is not flushed to the disk here. A batch flushes its recordings when it begins.
    """

    def __init__(self, objects: Objects, max_upload_bytes: int) -> None:
        self._objects = objects
        self._max_bytes = max_upload_bytes

    async def receive(self, account: str, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Store one recording of ``account`` that is sent alone; it is hashed while it arrives.

        Raises Conflict(code="other_content") if the bytes do not have ``sha256``, PayloadTooLarge, and InvalidAudio for
        bytes that are not a recording.
        """
        self._objects.space().check()
        stored = await self._objects.put_stream(recording_bytes(chunks), limit_bytes=self._max_bytes)
        try:
            _check_content(stored.sha256, sha256)
        except BaseException:
            await self._objects.discard(stored)
            raise
        await self._objects.adopt(stored, audio_key(account, sha256), durably=False)

    async def receive_many(self, body: bytes) -> list[Refusal | None]:
        """Store the small recordings of a packed body.

        Returns one answer for each, in order: None for a stored recording.

        A recording that is refused does not affect the others. Raises InvalidRequest for a body of another form.
        """
        self._objects.space().check()
        head, tail = wire.unpack(body)
        try:
            files = RecordingsBody.model_validate(head).files
        except ValidationError as error:
            raise InvalidRequest(first_problem(error), code="bad_frame") from error
        recordings = wire.portions(tail, [file.size_bytes for file in files])
        refusals = await asyncio.to_thread(lambda: [self._refusal(*one) for one in zip(files, recordings, strict=True)])
        taken = [n for n, refused in enumerate(refusals) if refused is None]
        contents = {audio_key(files[n].account, files[n].sha256): bytes(recordings[n]) for n in taken}
        await self._objects.write_many(contents)
        return refusals

    async def flush_stored(self, files: Sequence[SourceFile]) -> list[bool]:
        """For each file, whether its recording is stored. Stored recordings have been flushed to the disk."""
        keys = [audio_key(file.account, file.sha256) for file in files]
        stored = await at_once(self._objects.exists(key) for key in keys)
        await self._objects.flush([key for key, exists in zip(keys, stored, strict=True) if exists])
        return stored

    def _refusal(self, file: RecordingBody, recording: memoryview) -> Refusal | None:
        try:
            if len(recording) > self._max_bytes:
                raise PayloadTooLarge(f"the recording is larger than the {self._max_bytes} bytes accepted")
            reject_non_audio(bytes(recording[:HEAD_BYTES]), len(recording))
            _check_content(hashlib.sha256(recording).hexdigest(), file.sha256)
        except FluxionsError as error:
            return Refusal(error=error.code, message=error.message)
        return None


def _check_content(sha256: str, declared: str) -> None:
    if sha256 != declared:
        raise Conflict(f"these bytes have the SHA-256 {sha256}, not {declared}", code="other_content")
