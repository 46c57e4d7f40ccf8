"""Choices of `fluxions transcribe` that are shown in its help; imports nothing that loads slowly."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """File formats of transcripts: those of `formats.transcript_files`, and the server's JSON."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    JSONL = "jsonl"
    RTTM = "rttm"
    CTM = "ctm"
    HTML = "html"
    DOCX = "docx"


class SpeakerNames(StrEnum):
    """Whether subtitles name speakers; see `formats.subtitles.NameSpeakers`."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
