"""Bodies and files of requests."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile

from schemas.errors import InvalidRequest, PayloadTooLarge
from serve.gateway.gate import declared_bytes


async def body_of(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises InvalidRequest if it is empty or larger than ``limit_bytes``."""
    if (declared_bytes(request.headers) or 0) > limit_bytes:
        raise InvalidRequest(f"the body is larger than {limit_bytes} bytes", code="frame_too_large")
    body = await request.body()
    if not body:
        raise InvalidRequest("the body is empty", code="empty_body")
    return body


async def saved_clip(upload: UploadFile, path: Path, limit_bytes: int | None = None) -> Path:
    """Save the file of a form to ``path``. Raises PayloadTooLarge if it is larger than ``limit_bytes``."""
    if limit_bytes is not None and (upload.size or 0) > limit_bytes:
        raise PayloadTooLarge(
            f"the clip is larger than the {limit_bytes} bytes accepted; a few seconds are enough", param="audio"
        )

    def save() -> None:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)

    await asyncio.to_thread(save)
    return path
