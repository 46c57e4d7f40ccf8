"""Finds truncated files: compares the length that a container declares in its header with the bytes received.

FFmpeg reads a truncated file up to its end without an error, so a recording that lost its second half during the upload
would be transcribed as if it were complete. The result is a description for a warning or an error. FLAC declares samples
instead of bytes and is checked after decoding. Containers meant for streams (MP3, ADTS, Ogg, AMR, live WebM) declare no
length and are read to their end.
"""

from __future__ import annotations

import struct

from audio.decoding.chunk_lengths import WIDE
from audio.decoding.declared import STREAMING_BYTES, TOLERANCE_BYTES
from audio.decoding.file_view import FileView
from schemas.domain import Seconds
from schemas.errors import InvalidAudio

TOLERANCE_SECS: Seconds = 0.5
"""Smaller differences are accepted, because many writers miscount by a header or a block."""


def missing(file: FileView, demuxer: str) -> str | None:
    """A description of how many bytes are missing; None where the file is complete or declares no length.

    ``file`` is left at its start. Raises InvalidAudio(truncated_audio) for a file of which nothing can be decoded: one
    that ends within its header, or before its index.
    """
    size = file.size
    try:
        match demuxer:
            case "wav":
                return _wav(file, size)
            case "mov":
                return _mov(file, size)
            case "matroska":
                return _matroska(file, size)
            case "caf":
                return _caf(file, size)
            case "aiff":
                return _bytes_missing(8 + int.from_bytes(_at(file, 4, 4), "big"), size)
            case "w64":
                # A 16-byte GUID, then the size of the whole file.
                return _bytes_missing(int.from_bytes(_at(file, 16, 8), "little"), size)
    except struct.error:
        raise InvalidAudio(
            "the recording is cut off within its header; send the whole file", code="truncated_audio"
        ) from None
    finally:
        file.seek(0)
    return None


def secs_missing(declared_secs: Seconds, held_secs: Seconds) -> str | None:
    """A description of the missing seconds; None if the recording is complete."""
    if declared_secs - held_secs <= TOLERANCE_SECS:
        return None
    return f"the recording is cut off: it declares {declared_secs:.1f} s and holds {held_secs:.1f} s"


def _bytes_missing(declared: int, size: int) -> str | None:
    if declared - size <= TOLERANCE_BYTES:
        return None
    return f"the recording is cut off: it declares {declared:,} bytes and {size:,} came"


def _at(file: FileView, offset: int, size: int) -> bytes:
    file.seek(offset)
    found = file.read(size)
    if len(found) < size:
        raise struct.error
    return found


def _wav(file: FileView, size: int) -> str | None:
    """Walks the chunks to ``data``, whose size RF64 keeps in ``ds64``."""
    is_wide = _at(file, 0, 4) in WIDE
    offset, bytes_per_sec, wide_length = 12, 0, 0
    while offset + 8 <= size:
        name, length = struct.unpack("<4sI", _at(file, offset, 8))
        offset += 8
        if name == b"fmt " and length >= 12:
            bytes_per_sec = struct.unpack("<I", _at(file, offset + 8, 4))[0]
        elif name == b"ds64" and is_wide:
            wide_length = struct.unpack("<8xQ", _at(file, offset, 16))[0]
        elif name == b"data":
            if is_wide and wide_length:
                length = wide_length
            if (is_wide or 0 < length < STREAMING_BYTES) and bytes_per_sec:
                return secs_missing(length / bytes_per_sec, (size - offset) / bytes_per_sec)
            return None
        offset += length + length % 2
    return None


def _mov(file: FileView, size: int) -> str | None:
    """Walks the top-level boxes: one that runs past the end, or no index at all, means that the file was cut off."""
    offset, has_index = 0, False
    while offset + 8 <= size:
        length, name = struct.unpack(">I4s", _at(file, offset, 8))
        if length == 1:
            length = struct.unpack(">Q", _at(file, offset + 8, 8))[0]
        has_index = has_index or name == b"moov"
        if length < 8:  # 0 means "to the end of the file". Other values are errors that the demuxer reports.
            break
        offset += length
    if not has_index:
        raise InvalidAudio(
            "the recording has no index (moov box): it was cut off before it was finished; send the whole file",
            code="truncated_audio",
        )
    return _bytes_missing(offset, size)


def _caf(file: FileView, size: int) -> str | None:
    """Walks the chunks, whose sizes leave out their 12-byte heads; ``data`` of size -1 goes to the end of the file."""
    offset = 8
    while offset + 12 <= size:
        length = struct.unpack(">4xq", _at(file, offset, 12))[0]
        if length < 0:
            return None
        offset += 12 + length
    return _bytes_missing(offset, size)


def _matroska(file: FileView, size: int) -> str | None:
    end = segment_end(file)
    return None if end is None else _bytes_missing(end, size)


def segment_end(file: FileView) -> int | None:
    """Where the Segment of a Matroska file ends; None if its size is unknown (all ones), as in a live recording.

    Raises struct.error for a file that ends within its header. RFC 8794, section 4.
    """
    header, offset = _vint(file, 4)
    offset += header or 0
    if _at(file, offset, 4) != b"\x18\x53\x80\x67":
        return None
    length, offset = _vint(file, offset + 4)
    return None if length is None else offset + length


def _vint(file: FileView, offset: int) -> tuple[int | None, int]:
    """A variable-length integer, None if it stands for an unknown size, and the offset after it."""
    first = _at(file, offset, 1)[0]
    width = 9 - first.bit_length()
    if width > 8:
        raise struct.error
    value = int.from_bytes(_at(file, offset, width), "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), offset + width
