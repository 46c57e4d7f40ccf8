"""Sizes of the frames of audio streams that have no container, by their headers: MPEG audio, ADTS, AC-3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES_HZ = (48_000, 44_100, 32_000)
_EAC3_FROM = 11
"""Frames with this ``bsid`` or a higher one are E-AC-3."""

HEADER_BYTES: Final = 7
"""Bytes of a header that these functions need."""


def mpeg_size(header: bytes) -> int:
    """Bytes of the MPEG audio frame with this four-byte header, 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
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
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0


def ac3_size(header: bytes) -> int:
    """Bytes of the AC-3 frame with this header, 0 if it is none. ATSC A/52, 5.4.1."""
    if len(header) < 7 or header[:2] != b"\x0b\x77" or header[5] >> 3 >= _EAC3_FROM:
        return 0
    rate_index, size_code = header[4] >> 6, header[4] & 63
    if rate_index == 3 or size_code >= 2 * len(_AC3_KBPS):
        return 0
    words = _AC3_KBPS[size_code // 2] * 96_000 // _AC3_RATES_HZ[rate_index]
    return 2 * (words + (size_code & 1 if rate_index == 1 else 0))


def eac3_size(header: bytes) -> int:
    """Bytes of the E-AC-3 frame with this header, 0 if it is none. ATSC A/52, annex E."""
    if len(header) < 7 or header[:2] != b"\x0b\x77" or not _EAC3_FROM <= header[5] >> 3 <= 16:
        return 0
    return 2 * (((header[2] & 7) << 8 | header[3]) + 1)


FRAME_SIZES: Final[tuple[tuple[str, Callable[[bytes], int]], ...]] = (
    ("aac", adts_size),
    ("mp3", mpeg_size),
    ("ac3", ac3_size),
    ("eac3", eac3_size),
)
"""By demuxer: the size of a frame by its header, 0 if it is none."""
