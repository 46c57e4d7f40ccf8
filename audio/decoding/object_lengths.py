"""Compares the length of audio that AU, ASF, AVI and Matroska declare with the content of the file."""

from __future__ import annotations

import struct
from typing import Final

from audio.decoding.completeness import segment_end
from audio.decoding.declared import STREAMING_BYTES, Declared, is_trailer, understated
from audio.decoding.file_view import FileView

_READ_BYTES: Final = 1 << 20
_ASF_DATA: Final = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_OBJECTS: Final = tuple(
    map(
        bytes.fromhex,
        (
            "90080033b1e5cf1189f400a0c90349cb",  # simple index
            "d329e2d6da35d111903400a0c90349be",  # index
            "f803b1fead12644c840f2a1d2f7ad48c",  # media object index
            "d03fb73c4a0c0348953d00a0c90349be",  # timecode index
        ),
    )
)
"""Objects that may follow the packets. Advanced Systems Format (ASF) Specification, 10.1."""
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT_PARTS: Final = (b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67", b"\x10\x43\xa7\x70", b"\x19\x41\xa4\x69", b"\xec")
"""Cues, tags, chapters, attachments and padding, which may follow the clusters. RFC 9559, section 5.1."""


def au(view: FileView) -> Declared | None:
    """The declared length of an AU file.

    A joined file becomes a part of its own; audio behind the declared end is included.
    """
    start, length = struct.unpack(">4x2I", view.at(0, 12).ljust(12, b"\0"))
    end = start + length
    if not length or length >= STREAMING_BYTES or end >= view.size:
        return None
    if view.at(end, 4) == b".snd":
        return Declared(end)
    if is_trailer(view.at(end, _READ_BYTES), view.size - end):
        return Declared(end)
    return Declared(view.size, {8: struct.pack(">I", view.size - start)}, (understated(length, view.size - start),))


def asf(view: FileView) -> Declared | None:
    """The declared length of an ASF file. Packets behind the declared number are included."""
    at = view.find(_ASF_DATA)
    head = view.at(at, 24) if at >= 0 else b""
    length = struct.unpack("<16xQ", head)[0] if len(head) == 24 else 0
    end = at + length
    if not length or end >= view.size or view.at(end, 16) in _ASF_OBJECTS:
        return None
    if is_trailer(view.at(end, _READ_BYTES), view.size - end):
        return None
    held = min((place for one in _ASF_OBJECTS if (place := view.find(one, end)) >= 0), default=view.size) - at
    return Declared(view.size, {at + 16: struct.pack("<Q", held)}, (understated(length, held),))


def avi(view: FileView) -> Declared | None:
    """The declared length of an AVI file.

    FFmpeg reads past the end of the list with the audio, so only a warning is needed.
    """
    at = view.find(b"movi")
    if at < 8 or view.at(at - 8, 4) != b"LIST":
        return None
    length = int.from_bytes(view.at(at - 4, 4), "little")
    end = at + length
    following = view.at(end + end % 2, 4)
    if not 4 < length < STREAMING_BYTES or end >= view.size or following in (b"idx1", b"JUNK", b"LIST", b"RIFF"):
        return None
    if is_trailer(view.at(end, _READ_BYTES), view.size - end):
        return None
    return Declared(view.size, warnings=(understated(length, view.size - at),))


def matroska(view: FileView) -> Declared | None:
    """The declared length of a Matroska file.

    A joined file is a part of its own. FFmpeg reads past the segment's end, so only a warning is needed.
    """
    try:
        end = segment_end(view)
    except struct.error:
        return None  # The file ends within its header.
    if end is None or end >= view.size:
        return None
    following = view.at(end, 4)
    if following == _EBML:
        return Declared(end)
    if following.startswith(_SEGMENT_PARTS) or is_trailer(view.at(end, _READ_BYTES), view.size - end):
        return None
    return Declared(view.size, warnings=(understated(end, view.size),))
