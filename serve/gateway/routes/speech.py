"""`/vui/voices` and `/vui/v1/tts`: text to speech."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from audio.encode import encode
from schemas.api.speech import SpeechRequest, VoiceBody, VoiceList, audio_responses
from schemas.domain import SPEECH_RATE_HZ
from serve.gateway.audio_responses import CLIENT_CLOSED, SPEECH_TYPES, ClientGone, complete, streamed, until_gone
from serve.gateway.auth import MaybeUser
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/vui", tags=["speech"])

_Services = Annotated[Services, Depends(services)]


@router.get("/voices")
async def list_voices(s: _Services) -> VoiceList:
    """The built-in voices of this server's synthesiser, each with its language. No key needed."""
    return VoiceList(voices=[VoiceBody.of(voice) for voice in s.speech.built_in])


@router.get(
    "/voices/{voice_id}/preview",
    response_class=Response,
    responses={200: {"description": "WAV, 24 kHz mono.", "content": {"audio/wav": {}}}},
)
async def preview(voice_id: str, s: _Services) -> Response:
    """A built-in voice speaks its `preview_text`. No key needed."""
    voice = await s.speech.voice(voice_id, None)
    sound = await s.speech.preview(voice)
    wav = encode(sound, "wav", SPEECH_RATE_HZ)
    return Response(wav, media_type=SPEECH_TYPES["wav"], headers={"Cache-Control": "public, max-age=3600"})


@router.post(
    "/v1/tts",
    response_class=Response,
    responses=audio_responses(),
    openapi_extra={"security": [{}, {"APIKeyHeader": []}]},  # a key is needed for cloned voices only
)
async def tts(
    ask: SpeechRequest,
    request: Request,
    user: MaybeUser,
    s: _Services,
    stream: Annotated[bool | None, Query(description="Send audio while it is rendered; also a field of the body.")] = None,
) -> Response:
    """Speak a text: a complete file, or with `stream=1` audio while it is rendered.

    Built-in voices need no key; a cloned voice needs a key of its account. Renders with a key are stored in the account's
    history.
    """
    account = user.account if user else None
    voice = await s.speech.voice(ask.voice, account)
    s.speech.check(ask)
    if account is None:
        await s.anonymous.take(request.client.host if request.client else None, len(ask.input))
    as_it_is_made = bool(ask.stream or stream)
    try:
        starting = s.speech.start(ask, voice, account, streamed=as_it_is_made)
        rendering = await until_gone(request.receive, starting)
        if as_it_is_made:
            return streamed(rendering, ask.response_format)
        async with aclosing(rendering):
            return await until_gone(request.receive, complete(rendering, ask.response_format))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
