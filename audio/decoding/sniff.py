"""Detects the type of a file from its first bytes: the demuxer that may open it.

A client's file name and media type are ignored. Only the demuxers named here are ever used, so playlists, network streams
and rare formats never reach FFmpeg. `audio.decoding.refusals` names files of other types.
"""

from __future__ import annotations

from audio.decoding.frame_headers import FRAME_SIZES, HEADER_BYTES

HEAD_BYTES = 4096
"""Number of bytes from the start of a file that `sniff` needs; fewer if the file is shorter."""

SUPPORTED = (
    "WAV, W64, FLAC, MP3, MP2, Ogg, Opus, AAC, M4A/M4B/MP4/MOV/3GP, WebM/MKV, AIFF, CAF, AU, AMR, AC-3, WMA, AVI, FLV "
    "or MPEG-TS/PS"
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"RF64", "wav"),
    (b"BW64", "wav"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"caff", "caf"),
    (b".snd", "au"),
    (b"#!AMR", "amr"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "asf"),
    (b"FLV\x01", "flv"),
    (b"\x00\x00\x01\xba", "mpeg"),
)
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
_TS_PACKETS = ((0, 188), (4, 192), (0, 204))
"""Position of the sync byte of an MPEG transport stream, and the distance after which it repeats."""
_TS_SYNC = 0x47
_MIN_FRAMES = 3
"""Frames in a row that a stream without a container must start with, as far as the head holds them."""


def sniff(head: bytes) -> str | None:
    """The FFmpeg demuxer for a file that starts with ``head``, or None if it is none of `SUPPORTED`.

    Behind an ID3 tag that is longer than the head an MP3 is assumed; `audio.decoding.file_parts` looks behind the tag.
    """
    if head[:3] == b"ID3":
        while size := tag_size(head):
            head = head[size:].lstrip(b"\0")
        return (_without_tags(head) if head else None) or "mp3"
    return _without_tags(head)


def _without_tags(head: bytes) -> str | None:
    for magic, demuxer in _MAGIC:
        if head.startswith(magic):
            return demuxer
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b"AVI "):
        return "wav" if head[8:12] == b"WAVE" else "avi"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in _MOV_BOXES and head[8:12] not in _IMAGE_BRANDS:
        return "mov"
    return "mpegts" if _is_transport_stream(head) else _frames(head)


def tag_size(head: bytes) -> int:
    """Bytes of the ID3v2 tag with this header, with its footer; 0 if it is none. https://id3.org/id3v2.4.0-structure"""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_transport_stream(head: bytes) -> bool:
    for first, step in _TS_PACKETS:
        syncs = head[first::step]
        if len(syncs) >= 4 and all(byte == _TS_SYNC for byte in syncs):
            return True
    return False


def _frames(head: bytes) -> str | None:
    """The demuxer for consecutive frames within ``head``, or for one frame at the start of a head that is too short for
    two.
    """
    for at in range(max(len(head) - HEADER_BYTES + 1, 0)):
        if head[at] not in (0xFF, 0x0B):
            continue
        for demuxer, size_of in FRAME_SIZES:
            size = size_of(head[at : at + HEADER_BYTES])
            if not size:
                continue
            if at == 0 and at + size + 2 > len(head) and len(head) < HEAD_BYTES:
                return demuxer
            if _run(head, at, demuxer) >= _MIN_FRAMES or (at == 0 and _run_to_end(head, demuxer)):
                return demuxer
    return None


def _run(head: bytes, at: int, demuxer: str) -> int:
    """Number of consecutive whole frames of one stream from ``at``, up to `_MIN_FRAMES`."""
    size_of = dict(FRAME_SIZES)[demuxer]
    first, count = head[at : at + 2], 0
    while count < _MIN_FRAMES and _same_sync(first, head[at : at + 2]) and (size := size_of(head[at : at + HEADER_BYTES])):
        at, count = at + size, count + 1
    return count


def _run_to_end(head: bytes, demuxer: str) -> bool:
    """Whether the head starts with two frames or more, the last of which extends beyond the head."""
    size_of = dict(FRAME_SIZES)[demuxer]
    first, at, count = head[:2], 0, 0
    while at + HEADER_BYTES <= len(head):
        size = size_of(head[at : at + HEADER_BYTES])
        if not size or not _same_sync(first, head[at : at + 2]):
            return False
        at, count = at + size, count + 1
    return count >= 2


def _same_sync(first: bytes, second: bytes) -> bool:
    # Sync word, version and layer must be equal in both frames; the CRC bit may differ.
    return len(second) == 2 and first[0] == second[0] and first[1] & 0xFE == second[1] & 0xFE
