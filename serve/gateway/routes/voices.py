"""`/vui/v1/voices`: cloned voices of an account."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile

from schemas.api.speech import ClonedVoice, DeletedVoice, DeleteVoice, OwnVoice, OwnVoices
from schemas.errors import PayloadTooLarge
from serve.cloning import Clip
from serve.gateway.auth import User
from serve.gateway.bodies import bounded
from serve.gateway.services import Services, services

_FORM_BYTES = 256 * 1024
"""What a form has around its files."""


def _limit_bytes(request: Request) -> int:
    return 2 * services(request).settings.speech.clone_max_bytes + _FORM_BYTES


router = APIRouter(prefix="/vui/v1/voices", tags=["voices"], route_class=bounded(_limit_bytes))

_Services = Annotated[Services, Depends(services)]


@router.post("")
async def clone(
    user: User,
    s: _Services,
    audio: Annotated[UploadFile, File(description="Reference clip of one person; a few clean seconds are enough.")],
    text: Annotated[str | None, Form(max_length=5000, description="Exact transcript; ours when omitted.")] = None,
    name: Annotated[str | None, Form(max_length=100, description="Label; the file's name when omitted.")] = None,
    consent: Annotated[UploadFile | None, File(description="The speaker's recorded consent.")] = None,
    consent_statement: Annotated[str | None, Form(max_length=5000, description="What the speaker agreed to.")] = None,
) -> ClonedVoice:
    """Make a voice from a clip, private to this account. With the embedded engine this is voice matching."""
    limit = s.settings.speech.clone_max_bytes
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fluxions-upload-")))
        clip = Clip(
            audio=await _saved(audio, folder / "audio", limit),
            name=(name or "").strip() or PurePath(audio.filename or "").stem[:100] or "voice",
            text=(text or "").strip() or None,
            consent=await _saved(consent, folder / "consent", limit) if consent is not None else None,
            consent_statement=(consent_statement or "").strip() or None,
        )
        return ClonedVoice.of(await s.cloning.clone(user.account, clip))


@router.get("/mine")
async def mine(user: User, s: _Services) -> OwnVoices:
    """This account's voices, newest first."""
    voices = await s.ledger.list_voices(user.account)
    return OwnVoices(voices=[OwnVoice(voice_id=voice.id, name=voice.name) for voice in voices])


@router.post("/delete")
async def delete(body: DeleteVoice, user: User, s: _Services) -> DeletedVoice:
    """Remove a voice with its clip and consent."""
    await s.cloning.delete(user.account, body.voice_id)
    return DeletedVoice(voice_id=body.voice_id)


async def _saved(upload: UploadFile, path: Path, limit_bytes: int) -> Path:
    """The upload as a file of ours. Raises PayloadTooLarge."""
    if (upload.size or 0) > limit_bytes:
        raise PayloadTooLarge(
            f"the clip is larger than the {limit_bytes} bytes accepted; a few seconds are enough", param="audio"
        )

    def save() -> None:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)

    await asyncio.to_thread(save)
    return path
