"""Length of a recording from a few of its bytes: exact enough for the estimate of an archive, never used for billing.

Nothing is decoded and no library parses the bytes, so this needs no child process. Headers are trusted here and checked
when the recording is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from audio.decoding.frame_headers import RATES_HZ, adts_size, mpeg_size
from audio.decoding.sniff import HEAD_BYTES, sniff
from schemas.domain import Seconds

Reader = Callable[[int, int], bytes]
"""(offset, count) to bytes; fewer at the end of the file."""

_TAIL_BYTES = 65_536
"""An Ogg page is at most this long, so the last one begins within it."""
_AMR_FRAME_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1)
_MOST_CHUNKS = 1000


def duration_secs(read: Reader, size: int) -> Seconds | None:
    """Length in seconds; None if no header declares a length, or for other file types. ``size`` is of the whole file."""
    head = read(0, HEAD_BYTES)
    demuxer = sniff(head)
    reader = _BY_DEMUXER.get(demuxer or "")
    if reader is None:
        return None
    try:
        found = reader(read, size)
    except (struct.error, ZeroDivisionError, IndexError, OverflowError):
        return None
    return found if found is not None and 0 <= found < 1e7 else None


def _wav(read: Reader, size: int) -> Seconds | None:
    bytes_per_sec = 0
    for name, at, length in _chunks(read, size, 12, "<4sI", padded=True):
        if name == b"fmt ":
            bytes_per_sec = struct.unpack("<8xI", read(at, 12))[0]
        elif name == b"data":
            # A program that writes to a pipe declares a too large size or none, so the size of the file is used.
            held = size - at
            return float((min(length, held) if length else held) / bytes_per_sec)
    return None


def _w64(read: Reader, size: int) -> Seconds | None:
    at, bytes_per_sec = 40, 0
    while at + 24 <= size:
        name, length = struct.unpack("<16sQ", read(at, 24))
        if name[:4] == b"fmt ":
            bytes_per_sec = struct.unpack("<8xI", read(at + 24, 12))[0]
        elif name[:4] == b"data":
            return float(min(length - 24, size - at - 24) / bytes_per_sec)
        at += max(24, (length + 7) // 8 * 8)
    return None


def _aiff(read: Reader, size: int) -> Seconds | None:
    for name, at, _ in _chunks(read, size, 12, ">4sI", padded=True):
        if name == b"COMM":
            frames, exponent, mantissa = struct.unpack(">2xI2xHQ", read(at, 18))
            return float(frames / (mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)))
    return None


def _caf(read: Reader, size: int) -> Seconds | None:
    rate = frame_bytes = frames_a_packet = 0.0
    for name, at, length in _chunks(read, size, 8, ">4sq"):
        if name == b"desc":
            rate, frame_bytes, frames_a_packet = struct.unpack(">d8x2I", read(at, 24))
        elif name == b"pakt":
            return float(struct.unpack(">8xq", read(at, 16))[0] / rate)
        elif name == b"data" and frame_bytes:
            held = size - at if length < 0 else length
            return float((held - 4) / frame_bytes * frames_a_packet / rate)
    return None


def _au(read: Reader, size: int) -> Seconds | None:
    start, _, encoding, rate, channels = struct.unpack(">4x5I", read(0, 24))
    sample_bytes = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding)
    return None if sample_bytes is None else float((size - start) / (rate * channels * sample_bytes))


def _flac(read: Reader, _: int) -> Seconds | None:
    at = _after_id3(read)
    packed = struct.unpack(">Q", read(at + 18, 8))[0]
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    return samples / rate if samples else None


def _mov(read: Reader, size: int) -> Seconds | None:
    for name, at, length in _boxes(read, 0, size):
        if name == b"moov":
            for inner, start, _ in _boxes(read, at, at + length):
                if inner == b"mvhd":
                    wide = read(start, 1) == b"\x01"
                    scale, duration = struct.unpack(">20xIQ" if wide else ">12x2I", read(start, 32 if wide else 20))
                    return float(duration / scale) or None
    return None


def _ogg(read: Reader, size: int) -> Seconds | None:
    head, tail = read(0, HEAD_BYTES), read(max(0, size - _TAIL_BYTES), _TAIL_BYTES)
    first = head[27 + head[26] :]
    skipped = 0
    if first.startswith(b"OpusHead"):
        rate, skipped = 48_000, struct.unpack("<10xH", first[:12])[0]
    elif first.startswith(b"\x01vorbis"):
        rate = struct.unpack("<12xI", first[:16])[0]
    elif first.startswith(b"Speex   "):
        rate = struct.unpack("<36xI", first[:40])[0]
    elif first.startswith(b"\x7fFLAC"):
        rate = struct.unpack(">Q", first[27:35])[0] >> 44
    else:
        return None
    at = len(tail)
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        granule = struct.unpack("<6xq", tail[at : at + 14])[0]
        if granule >= 0:
            return float(max(0.0, (granule - skipped) / rate))
    return None


def _mp3(read: Reader, size: int) -> Seconds | None:
    start = _after_id3(read)
    head = read(start, HEAD_BYTES)
    for at in range(len(head) - 4):
        header = head[at : at + 4]
        frame_bytes = mpeg_size(header) if header[0] == 0xFF else 0
        if not frame_bytes:
            continue
        samples, rate = _mpeg_samples(header)
        # With a variable bit rate the first frame has the number of frames: "Xing" or "Info", after the side information.
        for tag in (b"Xing", b"Info"):
            found = head.find(tag, at, at + 60)
            if found >= 0 and head[found + 7] & 1:
                return float(struct.unpack(">I", head[found + 8 : found + 12])[0] * samples / rate)
        return (size - start - at) / frame_bytes * samples / rate
    return None


def _mpeg_samples(header: bytes) -> tuple[int, int]:
    """Samples a frame and sample rate, Hz, by the header of an MPEG audio frame. ISO/IEC 11172-3, 13818-3."""
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    return samples, RATES_HZ[version][header[2] >> 2 & 3]


def _aac(read: Reader, size: int) -> Seconds | None:
    """ADTS frames hold 1024 samples each; the mean size of those in the head is used for all."""
    start = _after_id3(read)
    head = read(start, HEAD_BYTES)
    at = count = 0
    while frame_bytes := adts_size(head[at : at + 7]):
        rate = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)[
            head[at + 2] >> 2 & 15
        ]
        count, at = count + 1, at + frame_bytes
    return (size - start) / (at / count) * 1024 / rate if count else None


def _amr(read: Reader, size: int) -> Seconds | None:
    head = read(0, 16)
    if head.startswith(b"#!AMR-WB"):
        return None
    return (size - 6) / _AMR_FRAME_BYTES[head[6] >> 3 & 15] * 0.02


def _matroska(read: Reader, _: int) -> Seconds | None:
    """Duration (0x4489) times TimestampScale (0x2AD7B1, ns); both are near the start, except in a live recording."""
    head = read(0, HEAD_BYTES)
    at = head.find(b"\x44\x89")
    if at < 0 or head[at + 2] not in (0x84, 0x88):
        return None
    wide = head[at + 2] == 0x88
    ticks = struct.unpack(">d" if wide else ">f", head[at + 3 : at + (11 if wide else 7)])[0]
    scale, where = 1_000_000, head.find(b"\x2a\xd7\xb1")
    if where >= 0:
        width = head[where + 3] & 0x7F
        scale = int.from_bytes(head[where + 4 : where + 4 + width], "big")
    return float(ticks * scale / 1e9)


def _chunks(read: Reader, size: int, at: int, form: str, *, padded: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """(name, position of the content, length) of IFF-like chunks from ``at`` on."""
    width = struct.calcsize(form)
    for _ in range(_MOST_CHUNKS):
        if at + width > size:
            return
        name, length = struct.unpack(form, read(at, width))
        at += width
        yield name, at, length
        at += max(length, 0) + (length % 2 if padded else 0)


def _boxes(read: Reader, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, position of the content, length) of ISO boxes from ``at`` to before ``end``."""
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end:
            return
        length, name = struct.unpack(">I4s", read(at, 8))
        head = 8
        if length == 1:
            length, head = struct.unpack(">Q", read(at + 8, 8))[0], 16
        if length < head:
            return
        yield name, at + head, length - head
        at += length


def _after_id3(read: Reader) -> int:
    head = read(0, 10)
    if not head.startswith(b"ID3"):
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


_BY_DEMUXER: dict[str, Callable[[Reader, int], Seconds | None]] = {
    "wav": _wav,
    "w64": _w64,
    "aiff": _aiff,
    "caf": _caf,
    "au": _au,
    "flac": _flac,
    "mov": _mov,
    "ogg": _ogg,
    "mp3": _mp3,
    "aac": _aac,
    "amr": _amr,
    "matroska": _matroska,
}
