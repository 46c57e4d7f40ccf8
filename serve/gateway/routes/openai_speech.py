"""`/v1/audio/speech`: text to speech for OpenAI's clients; and lists of voices and models for other clients."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from schemas.api.openai_speech import (
    Choice,
    ModelChoices,
    OpenAISpeech,
    SpeechDelta,
    SpeechDone,
    SpeechUsage,
    VoiceChoices,
)
from schemas.api.openai_transcripts import event
from schemas.api.speech import Render
from schemas.errors import InvalidParameter, NotFound
from schemas.speech import VoiceProfile
from serve.gateway.audio_responses import (
    CLIENT_CLOSED,
    SPEECH_TYPES,
    ClientGone,
    SoundResponse,
    complete,
    encoded,
    until_gone,
)
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.openai_route import OpenAIRoute
from serve.services.speech import Rendering

_LENGTH_IN_HEADER: Final = frozenset({"wav", "flac"})
"""Formats with the length in their header. They are sent when complete, all others while they are rendered."""

router = APIRouter(prefix="/v1/audio", tags=["openai"], route_class=OpenAIRoute)

_Services = Annotated[Services, Depends(services)]


@router.post("/speech", response_class=Response)
async def speech(ask: OpenAISpeech, request: Request, user: User, s: _Services) -> Response:
    """OpenAI's speech route: streams audio while it is rendered, or events with pieces of the audio.

    Recorded in the account's history.
    """
    headers = {"x-fluxions-model": s.model_names.serving(ask.model, "synthesizer")}
    voice = await _voice(s, ask.voice_name, user.account)
    pace, tempo = s.speech.paces(ask.speed)
    render = Render(voice=voice.voice_id, input=ask.input, speed=pace)
    s.speech.check(render)
    try:
        streams = ask.stream_format == "sse" or ask.response_format not in _LENGTH_IN_HEADER
        rendering = await until_gone(request.receive, s.speech.start(render, voice, user.account, streamed=streams))
        if ask.stream_format == "sse":
            events = _events(rendering, ask, tempo)
            return SoundResponse(events, rendering, "text/event-stream", {**headers, "Cache-Control": "no-store"})
        if streams:
            sound = encoded(rendering, ask.response_format, tempo)
            return SoundResponse(sound, rendering, SPEECH_TYPES[ask.response_format], headers)
        async with aclosing(rendering):
            answer = await until_gone(request.receive, complete(rendering, ask.response_format, tempo))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    answer.headers.update(headers)
    return answer


@router.get("/voices")
async def voices(s: _Services) -> VoiceChoices:
    """Valid values of `voice`: the aliases of OpenAI's voices, then every voice of this server. No key needed."""
    aliases = [Choice(id=name, name=f"{name} ({voice})") for name, voice in sorted(s.voice_names.aliases.items())]
    own = [Choice(id=voice.voice_id, name=voice.voice_id.partition(".")[0]) for voice in s.speech.built_in]
    return VoiceChoices(voices=aliases + own)


@router.get("/models")
async def models(s: _Services) -> ModelChoices:
    """The synthesiser's model. No key needed."""
    model = s.model_names.own("synthesizer")
    return ModelChoices(models=[Choice(id=model, name=model)])


async def _voice(s: Services, name: str, account: str) -> VoiceProfile:
    """Raises InvalidParameter for an unknown voice, which OpenAI's servers answer with 400."""
    try:
        return await s.speech.voice(s.voice_names.voice(name), account)
    except NotFound as error:
        raise InvalidParameter(error.message, code=error.code, param="voice") from error


async def _events(rendering: Rendering, ask: OpenAISpeech, tempo: float) -> AsyncGenerator[bytes, None]:
    async for piece in encoded(rendering, ask.response_format, tempo):
        yield event(SpeechDelta(audio=base64.b64encode(piece).decode()))
    yield event(SpeechDone(usage=SpeechUsage.of(ask.input, rendering.stats.audio_secs / tempo)))
    yield b"data: [DONE]\n\n"
