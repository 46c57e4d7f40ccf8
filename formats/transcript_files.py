"""The file formats of transcripts, and the choice of their writers."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from formats.document import Document
from formats.line_records import ctm, json_lines, rttm
from formats.subtitles import PLAIN, SubtitleStyle, srt, vtt
from formats.web_page import html_page
from formats.word_file import docx


class FileFormat(StrEnum):
    """File formats of transcripts; the value is also a file's suffix."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSONL = "jsonl"
    RTTM = "rttm"
    CTM = "ctm"
    HTML = "html"
    DOCX = "docx"


MEDIA_TYPES: Final[dict[FileFormat, str]] = {
    FileFormat.TXT: "text/plain; charset=utf-8",
    FileFormat.SRT: "application/x-subrip; charset=utf-8",
    FileFormat.VTT: "text/vtt; charset=utf-8",
    FileFormat.JSONL: "application/x-ndjson",
    FileFormat.RTTM: "text/plain; charset=utf-8",
    FileFormat.CTM: "text/plain; charset=utf-8",
    FileFormat.HTML: "text/html; charset=utf-8",
    FileFormat.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


def render(document: Document, fmt: FileFormat, style: SubtitleStyle = PLAIN) -> bytes:
    """The content of the file. ``style`` is for subtitles."""
    match fmt:
        case FileFormat.DOCX:
            return docx(document)
        case FileFormat.TXT:
            text = f"{document.text}\n"
        case FileFormat.SRT:
            text = srt(document.segments, style)
        case FileFormat.VTT:
            text = vtt(document.segments, style)
        case FileFormat.JSONL:
            text = json_lines(document)
        case FileFormat.RTTM:
            text = rttm(document)
        case FileFormat.CTM:
            text = ctm(document)
        case FileFormat.HTML:
            text = html_page(document)
    return text.encode("utf-8", errors="replace")
