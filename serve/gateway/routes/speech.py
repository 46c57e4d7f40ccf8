"""`/vui/voices` and `/vui/v1/tts`: text goes in, sound comes out."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from audio.encode import encode
from schemas.api.speech import SpeechRequest, VoiceBody, VoiceList, audio_responses
from schemas.domain import SPEECH_RATE_HZ
from serve.gateway.auth import MaybeUser
from serve.gateway.bodies import bounded
from serve.gateway.carrying import SPEECH_TYPES, ClientGone, complete, streamed, until_gone
from serve.gateway.services import Services, services
from serve.tts.voices import BUILT_IN

_JSON_MAX_BYTES = 8 * 1024 * 1024
"""A text at its limit with every character escaped is smaller."""
_CLIENT_CLOSED = 499

router = APIRouter(prefix="/vui", tags=["speech"], route_class=bounded(lambda _: _JSON_MAX_BYTES))

_Services = Annotated[Services, Depends(services)]


@router.get("/voices")
async def list_voices() -> VoiceList:
    """The built-in voices. No key needed."""
    return VoiceList(voices=[VoiceBody.of(voice) for voice in BUILT_IN])


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


@router.post("/v1/tts", response_class=Response, responses=audio_responses())
async def tts(
    ask: SpeechRequest,
    request: Request,
    user: MaybeUser,
    s: _Services,
    stream: Annotated[bool | None, Query(description="Send sound as it is made; also a field of the body.")] = None,
) -> Response:
    """Speak a text: a complete file, or with `stream=1` sound as it is made.

    Built-in voices need no key; a cloned one needs its account's. What is spoken with a key is kept in its history.
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
        return Response(status_code=_CLIENT_CLOSED)
