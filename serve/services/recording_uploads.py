"""Checks of uploads: bytes that are not a recording are refused before the rest is read, and raw samples get a header."""

from __future__ import annotations

from collections.abc import AsyncIterator

from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES
from audio.raw_pcm import RawFormat, wav_header


async def recording_bytes(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes. Raises InvalidAudio once the first `HEAD_BYTES` have come, if they do not begin a recording."""
    head = bytearray()
    checked = False
    async for chunk in chunks:
        if checked:
            yield chunk
            continue
        head += chunk
        if len(head) >= HEAD_BYTES:
            reject_non_audio(bytes(head[:HEAD_BYTES]))
            checked = True
            yield bytes(head)
    if not checked:
        reject_non_audio(bytes(head), len(head))
        yield bytes(head)


async def with_header(chunks: AsyncIterator[bytes], raw: RawFormat) -> AsyncIterator[bytes]:
    """Raw samples as a WAV file whose header declares no length. An empty body stays empty."""
    begun = False
    async for chunk in chunks:
        if chunk and not begun:
            begun = True
            yield wav_header(raw)
        yield chunk
