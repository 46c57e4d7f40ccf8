"""`/vui/v1/voices`: cloned voices of an account."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, UploadFile
from fastapi.responses import Response
from pydantic.json_schema import SkipJsonSchema

from audio.encode import encode
from runtime.scratch import CLIP, scratch_folder
from schemas.api.speech import ClonedVoice, DeletedVoice, DeleteVoice, OwnVoice, OwnVoices
from schemas.domain import SPEECH_RATE_HZ
from serve.gateway.audio_responses import SPEECH_TYPES
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.request_bodies import saved_clip
from serve.services.voice_cloning import Clip

router = APIRouter(prefix="/vui/v1/voices", tags=["voices"])

_Services = Annotated[Services, Depends(services)]


@router.post("")
async def clone(
    user: User,
    s: _Services,
    audio: Annotated[UploadFile, File(description="Reference clip of one person; a few clean seconds are enough.")],
    text: Annotated[
        str | None,
        Form(max_length=5000, description="Exact transcript of the clip; recognised by the server when omitted."),
    ] = None,
    name: Annotated[str | None, Form(max_length=100, description="Label; the file's name when omitted.")] = None,
    consent: Annotated[UploadFile | SkipJsonSchema[None], File(description="The speaker's recorded consent.")] = None,
    consent_statement: Annotated[str | None, Form(max_length=5000, description="What the speaker agreed to.")] = None,
) -> ClonedVoice:
    """Make a voice from a clip, private to this account.

    The embedded engine matches a voice to the clip instead of cloning it.
    """
    limit = s.settings.speech.clone_max_bytes
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(s.settings.scratch, CLIP))
        clip = Clip(
            audio=await saved_clip(audio, folder / "audio", limit),
            name=(name or "").strip() or PurePath(audio.filename or "").stem[:100] or "voice",
            text=(text or "").strip() or None,
            consent=await saved_clip(consent, folder / "consent", limit) if consent is not None else None,
            consent_statement=(consent_statement or "").strip() or None,
        )
        return ClonedVoice.of(await s.cloning.clone(user.account, clip))


@router.get("/mine")
async def mine(user: User, s: _Services) -> OwnVoices:
    """This account's voices, newest first."""
    voices = await s.ledger.voices.of_account(user.account)
    return OwnVoices(voices=[OwnVoice(voice_id=voice.id, name=voice.name) for voice in voices])


@router.get(
    "/{voice_id}/preview",
    response_class=Response,
    responses={200: {"description": "WAV, 24 kHz mono.", "content": {"audio/wav": {}}}},
)
async def preview(voice_id: str, user: User, s: _Services) -> Response:
    """A voice of this account speaks the first words of its own clip.

    The preview is rendered for each request and is not recorded in history.
    """
    sound = await s.speech.own_preview(voice_id, user.account)
    return Response(
        encode(sound, "wav", SPEECH_RATE_HZ), media_type=SPEECH_TYPES["wav"], headers={"Cache-Control": "no-store"}
    )


@router.post("/delete")
async def delete(body: DeleteVoice, user: User, s: _Services) -> DeletedVoice:
    """Remove a voice with its clip and consent."""
    await s.cloning.delete(user.account, body.voice_id)
    return DeletedVoice(voice_id=body.voice_id)
