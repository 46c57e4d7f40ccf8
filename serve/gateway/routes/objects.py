"""Signed downloads of the local object store; stores that sign their own URLs are reached without us."""

from __future__ import annotations

import mimetypes
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from schemas.errors import Forbidden, RangeNotSatisfiable
from serve.gateway.services import Services, services

router = APIRouter(tags=["objects"])

_TYPES = {".opus": "audio/ogg", ".json": "application/json", ".txt": "text/plain; charset=utf-8"}


@router.head("/objects/{key:path}", include_in_schema=False)
@router.get("/objects/{key:path}")
async def download(
    key: str,
    request: Request,
    s: Annotated[Services, Depends(services)],
    expires: Annotated[int, Query(description="Unix time the link ends at.")],
    signature: Annotated[str, Query(max_length=128)],
    filename: Annotated[str, Query(max_length=255, description="Name to save it under.")] = "",
) -> Response:
    """One object by its signed link; supports one byte range."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode().partition("?")[0]
    if not s.signer.verify(request.method, path, expires, signature, filename):
        raise Forbidden("this link was changed or has ended; fetch a fresh one", code="invalid_signature")
    size = await s.objects.size(key)
    start, end, status = _range(request.headers.get("range"), size)
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
    """By the name's ending, and only kinds that a browser plays or saves; anything else is bytes."""
    suffix = "." + (key if "." in key else name).rpartition(".")[2].lower()
    guessed = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")
    return guessed if guessed.startswith(("audio/", "video/")) or suffix in _TYPES else "application/octet-stream"


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """(start, end exclusive, status) of a ``Range`` header; several ranges are answered with the whole (RFC 9110 14.2)."""
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or "," in spec or not dash or not (first + last).isdigit():
        return 0, size, 200
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        raise RangeNotSatisfiable(f"the object has {size} bytes; the range {spec.strip()} lies outside")
    return start, end, 206
