"""The declared length of a recording, compared with the content of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.domain import TranscriptWarning

TOLERANCE_BYTES: Final = 4096
"""Smaller differences are accepted, because many writers miscount by a header or a block."""

STREAMING_BYTES: Final = 0x7FFF_F000
"""32-bit sizes from this value on mean "unknown": programs that write to a pipe declare such a size, or zero."""

TRAILERS: Final = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
"""Tags that programs append behind a recording."""


@dataclass(frozen=True, slots=True)
class Declared:
    """``end``: end of the recording in its view. ``corrections``: bytes of the header to replace, by position."""

    end: int
    corrections: Mapping[int, bytes] = field(default_factory=dict)
    warnings: tuple[TranscriptWarning, ...] = ()
    has_length: bool = True
    """Whether a length in seconds in the header covers the whole recording."""


def is_trailer(rest: bytes, size: int) -> bool:
    """Whether the ``size`` bytes behind a recording, which start with ``rest``, are not audio."""
    return size <= TOLERANCE_BYTES or not rest.strip(b"\0") or rest.startswith(TRAILERS)


def understated(declared_bytes: int, held_bytes: int) -> TranscriptWarning:
    """The warning for a header that declares less than the file contains."""
    return wrong_header(f"{declared_bytes:,} bytes of sound and {held_bytes:,} came")


def wrong_header(what: str) -> TranscriptWarning:
    """The warning for a header that declares ``what``, although more was read."""
    return TranscriptWarning("wrong_header", f"the header declares {what}; all of them were read")
