"""A finished transcription in the form that the file writers take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.api.transcription import SegmentBody, TurnBody

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """``title`` is the recording's file name. ``text`` has a line for each speaker's turn."""

    title: str
    text: str
    segments: Sequence[SegmentBody]
    turns: Sequence[TurnBody] = field(default_factory=tuple)
    language: str = "en"
    duration_secs: float = 0.0


def printable(text: str) -> str:
    """``text`` without characters that XML 1.0 and terminals cannot represent: controls, surrogates, non-characters."""
    return _UNPRINTABLE.sub("", text)


def speaker_name(speaker: str) -> str:
    """``Speaker 0`` for a number; a name unchanged."""
    return f"Speaker {speaker}" if speaker.isdecimal() else speaker


def clock(secs: float) -> str:
    """``1:02:03``, or ``02:03`` below an hour."""
    minutes, rest = divmod(int(secs), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
