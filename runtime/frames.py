"""The format of messages between a process and its child programs, over a pipe or a socket.

A frame is two little-endian u32 lengths, then that many bytes of a JSON object (the head), then that many raw bytes (the
body, for audio). The order of requests and answers determines a frame's meaning.
"""

from __future__ import annotations

import json
import struct
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    # The process that forks decoding children must import as little as possible.
    import asyncio

_LENGTHS: Final = struct.Struct("<II")
MAX_BYTES: Final = 512 * 1024 * 1024
"""Largest frame that is read, head and body together; a longer frame means that the peer uses another protocol."""


class Frame(NamedTuple):
    """One message: a JSON object, and bytes that need no encoding."""

    head: dict[str, Any]
    body: bytes = b""


def encode(head: dict[str, Any], body: bytes = b"") -> bytes:
    """The bytes of a frame."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def write(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame and flush it. Raises OSError when the reader has gone."""
    stream.write(encode(head, body))
    stream.flush()


def read(stream: IO[bytes], max_bytes: int = MAX_BYTES) -> Frame | None:
    """The next frame, or None at the end of the stream.

    Raises EOFError for a stream that ends within a frame, ValueError for bytes that are not a frame of at most
    ``max_bytes``.
    """
    lengths = stream.read(_LENGTHS.size)
    if not lengths:
        return None
    head_bytes, body_bytes = _checked(lengths, max_bytes)
    payload = stream.read(head_bytes + body_bytes)
    if len(payload) < head_bytes + body_bytes:
        raise EOFError("the stream ended within a frame")
    return _decoded(payload, head_bytes)


async def read_async(reader: asyncio.StreamReader, max_bytes: int = MAX_BYTES) -> Frame | None:
    """As `read`, for asyncio. Raises asyncio.IncompleteReadError, an EOFError, for a stream that ends within a frame."""
    lengths = await reader.read(_LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        lengths += await reader.readexactly(_LENGTHS.size - len(lengths))
    head_bytes, body_bytes = _checked(lengths, max_bytes)
    return _decoded(await reader.readexactly(head_bytes + body_bytes), head_bytes)


def _checked(lengths: bytes, max_bytes: int) -> tuple[int, int]:
    if len(lengths) < _LENGTHS.size:
        raise EOFError("the stream ended within a frame")
    head_bytes, body_bytes = _LENGTHS.unpack(lengths)
    if head_bytes + body_bytes > max_bytes:
        raise ValueError(f"a frame of {head_bytes + body_bytes} bytes is larger than the {max_bytes} bytes accepted")
    return head_bytes, body_bytes


def _decoded(payload: bytes, head_bytes: int) -> Frame:
    head = json.loads(payload[:head_bytes])
    if not isinstance(head, dict):
        raise ValueError("the head of a frame is not a JSON object")  # noqa: TRY004 - one error for all that is no frame
    return Frame(head, payload[head_bytes:])
