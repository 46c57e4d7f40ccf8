"""Whether a file is all there: what its container declares against the bytes that came.

FFmpeg reads a cut-off file up to the cut and says nothing, so a recording that lost its second half on the way would be
transcribed as if it were whole. FLAC counts samples instead and is checked after decoding.
Containers meant for streams (MP3, ADTS, Ogg, AMR, live WebM) declare nothing and are read
to their end.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from schemas.domain import Seconds
from schemas.errors import InvalidAudio

TOLERANCE_SECS: Seconds = 0.5
"""Writers that miscount by a header or a block are common; less than this is not worth refusing."""

TOLERANCE_BYTES = 4096

_STREAMING_WAV = 0x7FFF_F000
"""Sizes from here on stand for "not known yet": programs that write to a pipe declare this or more, or zero."""


def check_complete(file: BinaryIO, demuxer: str, size: int) -> None:
    """Raises InvalidAudio(truncated_audio) if the container says that more follows. ``file`` is left at its start."""
    try:
        if demuxer == "wav":
            _check_wav(file, size)
        elif demuxer == "mov":
            _check_mov(file, size)
        elif demuxer == "matroska":
            _check_matroska(file, size)
        elif demuxer == "caf":
            _check_caf(file, size)
        elif demuxer == "aiff":
            _refuse_bytes(8 + int.from_bytes(_at(file, 4, 4), "big"), size)
        elif demuxer == "w64":
            # A 16-byte GUID, then the size of the whole file.
            _refuse_bytes(int.from_bytes(_at(file, 16, 8), "little"), size)
    except struct.error:
        raise InvalidAudio(
            "the recording is cut off within its header; send the whole file", code="truncated_audio"
        ) from None
    finally:
        file.seek(0)


def truncated(declared_secs: Seconds, held_secs: Seconds) -> InvalidAudio:
    return InvalidAudio(
        f"the recording is cut off: it declares {declared_secs:.1f} s and holds {held_secs:.1f} s; send the whole file",
        code="truncated_audio",
    )


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    found = file.read(size)
    if len(found) < size:
        raise struct.error
    return found


def _refuse_bytes(declared: int, size: int) -> None:
    if declared - size > TOLERANCE_BYTES:
        raise InvalidAudio(
            f"the recording is cut off: it declares {declared:,} bytes and {size:,} came; send the whole file",
            code="truncated_audio",
        )


def _check_wav(file: BinaryIO, size: int) -> None:
    """Walks the RIFF chunks to ``data``. RF64 keeps its sizes elsewhere and is left to the demuxer."""
    if _at(file, 0, 4) != b"RIFF":
        return
    offset, bytes_per_sec = 12, 0
    while offset + 8 <= size:
        name, length = struct.unpack("<4sI", _at(file, offset, 8))
        offset += 8
        if name == b"fmt " and length >= 12:
            bytes_per_sec = struct.unpack("<I", _at(file, offset + 8, 4))[0]
        elif name == b"data":
            if 0 < length < _STREAMING_WAV and bytes_per_sec and length - (size - offset) > TOLERANCE_SECS * bytes_per_sec:
                raise truncated(length / bytes_per_sec, (size - offset) / bytes_per_sec)
            return
        offset += length + length % 2


def _check_mov(file: BinaryIO, size: int) -> None:
    """Walks the top-level boxes: one that runs past the end, or no index at all, means that the file was cut off."""
    offset, has_index = 0, False
    while offset + 8 <= size:
        length, name = struct.unpack(">I4s", _at(file, offset, 8))
        if length == 1:
            length = struct.unpack(">Q", _at(file, offset + 8, 8))[0]
        has_index = has_index or name == b"moov"
        if length < 8:  # 0 means "to the end of the file", the rest is nonsense the demuxer will name.
            break
        offset += length
    _refuse_bytes(offset, size)
    if not has_index:
        raise InvalidAudio(
            "the recording has no index (moov box): it was cut off before it was finished; send the whole file",
            code="truncated_audio",
        )


def _check_caf(file: BinaryIO, size: int) -> None:
    """Walks the chunks, whose sizes leave out their 12-byte heads; ``data`` of size -1 goes to the end of the file."""
    offset = 8
    while offset + 12 <= size:
        length = struct.unpack(">4xq", _at(file, offset, 12))[0]
        if length < 0:
            return
        offset += 12 + length
    _refuse_bytes(offset, size)


def _check_matroska(file: BinaryIO, size: int) -> None:
    """Reads the size of the Segment element; a live recording leaves it unknown (all ones). RFC 8794, section 4."""
    header, offset = _vint(file, 4)
    offset += header or 0
    if _at(file, offset, 4) != b"\x18\x53\x80\x67":
        return
    length, offset = _vint(file, offset + 4)
    if length is not None:
        _refuse_bytes(offset + length, size)


def _vint(file: BinaryIO, offset: int) -> tuple[int | None, int]:
    """A variable-length integer, None if it stands for an unknown size, and the offset after it."""
    first = _at(file, offset, 1)[0]
    width = 9 - first.bit_length()
    if width > 8:
        raise struct.error
    value = int.from_bytes(_at(file, offset, width), "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), offset + width
