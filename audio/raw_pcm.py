"""Raw samples without a header: the formats that clients can name, and the WAV header for each."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

RawEncoding = Literal["s16le", "s24le", "s32le", "f32le", "f64le", "u8", "mulaw", "alaw"]
"""FFmpeg's names of raw formats."""

MIN_RATE_HZ, MAX_RATE_HZ, MOST_CHANNELS = 1_000, 768_000, 64

_PCM, _FLOAT, _ALAW, _MULAW = 1, 3, 6, 7
_KINDS: Final[dict[str, tuple[int, int]]] = {
    "s16le": (_PCM, 2),
    "s24le": (_PCM, 3),
    "s32le": (_PCM, 4),
    "f32le": (_FLOAT, 4),
    "f64le": (_FLOAT, 8),
    "u8": (_PCM, 1),
    "mulaw": (_MULAW, 1),
    "alaw": (_ALAW, 1),
}
"""Format tag of WAVEFORMATEX (RFC 2361) and bytes of a sample."""
_OPEN_LENGTH: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Encoding, rate and channels of raw samples."""

    encoding: RawEncoding
    rate_hz: int
    channels: int = 1


def wav_header(raw: RawFormat, data_bytes: int | None = None) -> bytes:
    """The 44 bytes in front of the samples of a WAV file, which have ``data_bytes`` bytes; None for all bytes up to the
    file's end.
    """
    tag, sample_bytes = _KINDS[raw.encoding]
    frame_bytes = sample_bytes * raw.channels
    fmt = struct.pack("<HHIIHH", tag, raw.channels, raw.rate_hz, raw.rate_hz * frame_bytes, frame_bytes, 8 * sample_bytes)
    riff, data = (_OPEN_LENGTH, _OPEN_LENGTH) if data_bytes is None else (36 + data_bytes, data_bytes)
    head = struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", len(fmt))
    return head + fmt + struct.pack("<4sI", b"data", data)
