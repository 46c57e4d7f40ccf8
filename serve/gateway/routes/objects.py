"""`/objects`: signed downloads from the local object store.

Buckets sign their own URLs, and clients reach them directly.
"""

from __future__ import annotations

import mimetypes
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from schemas.errors import Forbidden, RangeNotSatisfiable
from serve.gateway.dependencies import Services, services

router = APIRouter(tags=["objects"])

_MOST_DIGITS = 18

_TYPES = {".opus": "audio/ogg", ".json": "application/json", ".txt": "text/plain; charset=utf-8"}


@router.head("/objects/{key:path}", include_in_schema=False)
@router.get("/objects/{key:path}")
async def download(
    key: str,
    request: Request,
    s: Annotated[Services, Depends(services)],
    expires: Annotated[int, Query(description="Unix time at which the link expires.")],
    signature: Annotated[str, Query(max_length=128)],
    filename: Annotated[str, Query(max_length=255, description="File name for the download.")] = "",
) -> Response:
    """One object by its signed link; supports one byte range."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode().partition("?")[0]
    if not s.signer.verify(request.method, path, expires, signature, filename):
        raise Forbidden("this link was changed or has expired; request a new one", code="invalid_signature")
    size = await s.objects.size(key)
    start, end, status = byte_range(request.headers.get("range"), size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(filename, safe='')}",
        "Cache-Control": "private, max-age=0",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    media_type = _media_type(key, filename)
    if request.method == "HEAD":
        return Response(None, status, headers, media_type)
    if start == end:
        return Response(b"", status, headers, media_type)
    return StreamingResponse(await s.objects.open_range(key, start, end), status, headers, media_type)


def _media_type(key: str, name: str) -> str:
    """The media type by suffix, for types that a browser plays or saves; for others `application/octet-stream`."""
    suffix = "." + (key if "." in key else name).rpartition(".")[2].lower()
    guessed = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")
    return guessed if guessed.startswith(("audio/", "video/")) or suffix in _TYPES else "application/octet-stream"


def byte_range(header: str | None, size: int) -> tuple[int, int, int]:
    """(start, end exclusive, status) of a ``Range`` header; several ranges are answered with the whole object (RFC 9110,
    section 14.2). Raises RangeNotSatisfiable for a range outside the object.
    """
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.strip().partition("-")
    digits = first + last
    # Python's isdigit and int accept digits that HTTP does not, and int refuses numbers of thousands of digits.
    if unit.strip().lower() != "bytes" or not dash or not (digits.isascii() and digits.isdigit()) or "," in spec:
        return 0, size, 200
    if len(first) > _MOST_DIGITS or len(last) > _MOST_DIGITS:
        first, last = first[:_MOST_DIGITS], last[:_MOST_DIGITS]  # a truncated number is still beyond any size
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        raise RangeNotSatisfiable(f"the object has {size} bytes; the range {spec.strip()[:60]} lies outside")
    return start, end, 206
