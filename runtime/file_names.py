"""Names of files and downloads as text that can be shown, sent and stored, for any bytes of a disk or server."""

from __future__ import annotations

import os
import re
import unicodedata
from email.message import Message
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_NAME_BYTES: Final = 255
"""Longest name of a file on common file systems."""
MAX_NAME_CHARS: Final = 255
_UNNAMED: Final = "audio"
_EXTENDED: Final = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]*)", re.IGNORECASE)
"""The parameter that RFC 6266 prefers, in the two charsets of RFC 8187."""


def readable(name: str) -> str:
    """``name``, in which bytes that are not UTF-8 are read as Latin-1. In ``name`` they are surrogates (PEP 383)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        content = os.fsencode(name) if _from_disk(name) else name.encode("utf-8", "replace")
        return _as_utf8(content) or content.decode("latin-1")
    return name


def fitting(stem: str, ending: str) -> str:
    """``stem`` and ``ending`` as a valid file name. The stem is cut between characters to fit."""
    room = MAX_NAME_BYTES - len(os.fsencode(ending))
    content = os.fsencode(stem)
    if len(content) > room:
        content = content[:room]
        while content and _as_utf8(content) is None and _as_utf8(os.fsencode(stem)) is not None:
            content = content[:-1]
    return os.fsdecode(content) + ending


def download_name(url: str, disposition: str | None = None) -> str:
    """The name of a download: from its Content-Disposition (RFC 6266), else the last part of the path of ``url``.

    ``url`` is the last of a chain of redirects. Folders and control characters are removed. Without a name the result is
    ``audio``.
    """
    disposition = (disposition or "").replace("\n", " ").replace("\r", " ")
    extended = _EXTENDED.search(disposition)
    message = Message()
    message["Content-Disposition"] = _EXTENDED.sub("", disposition)
    named = unquote(extended[2], encoding=extended[1]) if extended else message.get_filename() or ""
    return _last_part(named) or _last_part(unquote(urlsplit(url).path)) or _UNNAMED


def _last_part(path: str) -> str:
    shown = "".join(c for c in path.replace("\\", "/") if unicodedata.category(c) not in ("Cc", "Cs"))
    name = PurePosixPath(shown).name
    return "" if name in (".", "..") else name[-MAX_NAME_CHARS:]


def _from_disk(name: str) -> bool:
    return all(not 0xD800 <= ord(c) < 0xDC80 and not 0xDCFF < ord(c) <= 0xDFFF for c in name)


def _as_utf8(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
