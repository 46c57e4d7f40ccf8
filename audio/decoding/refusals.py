"""Refuses files that are not recordings, by their first 4 KiB. Each refusal names the type of the file and the remedy."""

from __future__ import annotations

import re
from typing import Final

from audio.decoding.sniff import SUPPORTED, sniff
from schemas.errors import InvalidAudio

NO_RECORDING: Final = frozenset({"empty_audio", "not_audio", "playlist"})
"""Codes with which `reject_non_audio` refuses a file."""
RAW_PCM_HINT: Final = (
    "if this is raw PCM it has no header: wrap it as WAV, or give `format=s16le&rate=16000&channels=1` with its own values"
)

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
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (b"RIFX", "a WAV file with its bytes in reverse order (RIFX)"),
    (b"wvpk", "WavPack audio"),
    (b"MAC ", "Monkey's Audio"),
    (b"MPCK", "Musepack audio"),
    (b"MP+", "Musepack audio"),
    (b"TTA1", "True Audio"),
    (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"),
    (b"DSD ", "DSD audio"),
    (b"FRM8", "DSD audio"),
    (b"\x7f\xfe\x80\x01", "DTS audio"),
    (b"ADIF", "AAC audio in the ADIF format"),
    (b"NIST_1A", "a SPHERE recording"),
    (b"Creative Voice File", "a Creative Voice file"),
    (b"\x02#!SILK", "a SILK recording"),
    (b"#!SILK", "a SILK recording"),
)
_PLAYLIST = re.compile(
    rb"#extm3u|\[playlist\]|ffconcat|\[reference\]|rtsptext|v=0\r?\n|<asx|<smil|<mpd|<smoothstreamingmedia"
)
_XML_PLAYLIST = re.compile(rb"<(?:\w+:)?(?:smil|playlist|mpd|asx|smoothstreamingmedia)[\s>]")
_FORM = re.compile(rb"\s*--[^\r\n]{1,200}\r?\n(?:[^\r\n]+\r?\n)*?content-disposition:\s*form-data", re.IGNORECASE)


def reject_non_audio(head: bytes, total_size: int | None = None) -> None:
    """Returns if the file may be a recording.

    Raises InvalidAudio with a code of `NO_RECORDING` if it cannot be.

    ``head``: the first `audio.decoding.sniff.HEAD_BYTES`. ``total_size`` is None while the rest has not arrived.
    """
    if total_size == 0 or not head:
        raise InvalidAudio(
            "the request carries no audio: its body is empty; send the recording's bytes", code="empty_audio"
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if _PLAYLIST.match(start) or (start.startswith(b"<") and _XML_PLAYLIST.search(start)):
        raise InvalidAudio(
            "this is a playlist, which only points at recordings; send the recording itself", code="playlist"
        )
    # Checked before `sniff`, which would find the frames of an MP3 within a form.
    if _FORM.match(head):
        raise InvalidAudio(
            "this is a multipart form; send the bytes, not a form: the recording alone as the body "
            "(curl --data-binary @FILE)",
            code="not_audio",
        )
    if sniff(head) is not None:
        return
    raise InvalidAudio(f"this is {_other(head)}, not a recording we can read; {_advice(head)}", code="not_audio")


def _advice(head: bytes) -> str:
    if _text_kind(head) == "JSON":
        return "send the recording's bytes; JSON that names a recording needs `Content-Type: application/json`"
    known = any(head.startswith(magic) for magic, _ in _OTHER) or _text_kind(head)
    return f"send {SUPPORTED}" if known else f"send {SUPPORTED}; {RAW_PCM_HINT}"


def _other(head: bytes) -> str:
    for magic, what in _OTHER:
        if head.startswith(magic):
            return what
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp":
        return "an image"
    if head[:4] == b"RIFF" and head[8:12].isascii() and head[8:12].isalnum():
        return f"a RIFF file of the kind {head[8:12].decode()}"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    return _text_kind(head) or "a file of an unknown kind"


def _text_kind(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    # The end of the head may split a character.
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) < len(head) - 3 or any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    start = text.removeprefix("\ufeff").lstrip()
    if start.startswith(("{", "[")):
        return "JSON"
    if start.startswith("data:") and ";base64," in start[:200]:
        return "a data: URL, which holds the recording as base64"
    return "a web page or XML" if start.startswith("<") else "text"
