"""What a file is, told from its first bytes alone: the demuxer that may open it, or why none may.

A client's file name and media type decide nothing. Only the demuxers named here are ever opened, so playlists, network
streams and the long tail of exotic formats never reach FFmpeg.
"""

from __future__ import annotations

import re

from schemas.errors import InvalidAudio

HEAD_BYTES = 4096
"""How much of the start of a file `sniff` and `refuse` want; less is fine for a shorter file."""

SUPPORTED = "WAV, W64, FLAC, MP3, Ogg, Opus, AAC, M4A/MP4/MOV, WebM/MKV, AIFF, CAF, AU or AMR"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"RF64", "wav"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"caff", "caf"),
    (b".snd", "au"),
    (b"#!AMR", "amr"),
)
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")

_OTHER: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"MThd", "a MIDI score, which holds notes and no sound"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_PLAYLIST = re.compile(
    rb"#extm3u|\[playlist\]|ffconcat|\[reference\]|rtsptext|v=0\r?\n|<asx|<smil|<mpd|<smoothstreamingmedia"
)
_XML_PLAYLIST = re.compile(rb"<(?:\w+:)?(?:smil|playlist|mpd|asx|smoothstreamingmedia)[\s>]")

# Bit rates (kb/s) by index: MPEG-1 layers I, II, III, then MPEG-2/2.5 layer I, layers II and III. ISO/IEC 11172-3, 13818-3.
_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def sniff(head: bytes) -> str | None:
    """The FFmpeg demuxer for a file that starts with ``head``, or None if it is none of `SUPPORTED`."""
    for magic, demuxer in _MAGIC:
        if head.startswith(magic):
            return demuxer
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in _MOV_BOXES and head[8:12] not in _IMAGE_BRANDS:
        return "mov"
    if head[:3] == b"ID3":
        return _after_id3(head)
    return _frames(head)


def refuse(head: bytes, total_size: int) -> None:
    """Returns if the file may be a recording. Raises InvalidAudio (empty_audio, playlist, not_audio) if it cannot be."""
    if total_size == 0 or not head:
        raise InvalidAudio(
            "the request carries no audio: its body is empty; send the recording's bytes", code="empty_audio"
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if _PLAYLIST.match(start) or (start.startswith(b"<") and _XML_PLAYLIST.search(start)):
        raise InvalidAudio(
            "this is a playlist, which only points at recordings; send the recording itself", code="playlist"
        )
    if sniff(head) is not None:
        return
    what = _other(head)
    raise InvalidAudio(f"this is {what}, not a recording we can read; send {SUPPORTED}", code="not_audio")


def _other(head: bytes) -> str:
    for magic, what in _OTHER:
        if head.startswith(magic):
            return what
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp":
        return "an image"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    return _text_kind(head) or "a file of an unknown kind"


def _text_kind(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    # A character may be cut by the end of the head.
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) < len(head) - 3 or any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    start = text.removeprefix("\ufeff").lstrip()
    if start.startswith(("{", "[")):
        return "JSON"
    return "a web page or XML" if start.startswith("<") else "text"


def _after_id3(head: bytes) -> str:
    """MP3, AAC and FLAC may all start with an ID3v2 tag; one longer than the head is taken to be an MP3's."""
    if len(head) < 10:
        return "mp3"
    size = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    rest = head[size:]
    if rest.startswith(b"fLaC"):
        return "flac"
    return _frames(rest) or "mp3"


def _frames(head: bytes) -> str | None:
    """``"aac"`` or ``"mp3"`` if two frames follow each other within ``head``, or one opens a head too short for two."""
    for at in range(max(len(head) - 6, 0)):
        if head[at] != 0xFF:
            continue
        for demuxer, size in (("aac", adts_size(head[at : at + 7])), ("mp3", mpeg_size(head[at : at + 4]))):
            following = head[at + size : at + size + 2]
            if size and ((len(following) < 2 and at == 0) or _same_sync(head[at : at + 2], following)):
                return demuxer
    return None


def _same_sync(first: bytes, second: bytes) -> bool:
    # All but the CRC bit of the sync word, version and layer must repeat.
    return len(second) == 2 and first[0] == second[0] and first[1] & 0xFE == second[1] & 0xFE


def mpeg_size(header: bytes) -> int:
    """Bytes of the MPEG audio frame with this four-byte header, 0 if it is none."""
    if len(header) < 4 or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate_index, bit_index, padding = header[2] >> 2 & 3, header[2] >> 4, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate_index == 3 or bit_index in (0, 15):
        return 0
    bits_per_sec = 1000 * _KBPS[1 if version == 3 else 2, layer][bit_index - 1]
    rate_hz = RATES_HZ[version][rate_index]
    if layer == 1:
        return (12 * bits_per_sec // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits_per_sec // rate_hz + padding


def adts_size(header: bytes) -> int:
    """Bytes of the AAC frame with this ADTS header, 0 if it is none. ISO/IEC 13818-7."""
    if len(header) < 7 or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0
