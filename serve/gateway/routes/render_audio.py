"""`/history/tts/{id}/audio`: the stored sound of a render, in the format that is asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from schemas.api.speech import AudioFormat, file_responses
from schemas.errors import NotFound
from serve.gateway.audio_responses import CLIENT_CLOSED, SPEECH_TYPES, ClientGone, SoundResponse, until_gone
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/history", tags=["history"])


@router.get("/tts/{render_id}/audio", response_class=Response, responses=file_responses())
async def render_audio(
    render_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    request: Request,
    user: User,
    s: Annotated[Services, Depends(services)],
    format: Annotated[AudioFormat, Query(description="`opus` is the stored copy; others are made from it.")] = "opus",
) -> Response:
    """The sound of one render, 24 kHz mono, as a file. The text is not rendered again."""
    row = await s.history.get("tts_renders", user.account, render_id)
    if row is None:
        raise NotFound(f"there is no render {render_id} in your account", param="id")
    if not row["audio_key"]:
        raise NotFound(f"the sound of render {render_id} is not stored", code="no_recording", param="id")
    try:
        file = await until_gone(request.receive, s.render_files.open(user.account, row["audio_key"], format))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    headers = {
        "Content-Length": str(file.size),
        "Content-Disposition": f'attachment; filename="tts-{render_id}.{format}"',
        "Cache-Control": "private, max-age=0",
    }
    return SoundResponse(file.content, file, SPEECH_TYPES[format], headers)
