"""The files of the page, read once: content, media type, and an entity tag by content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("static")
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page. ``etag`` is quoted, as in the header of that name (RFC 9110, 8.8.3)."""

    content: bytes
    media_type: str
    etag: str


def read_assets(folder: Path = _FOLDER) -> Mapping[str, Asset]:
    """Every file below ``folder`` by its path with slashes. Raises KeyError for a file of a type that is not served."""
    return {
        path.relative_to(folder).as_posix(): _asset(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
