"""`/v1/speakers`: known speakers of an account."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Path, UploadFile
from pydantic.json_schema import SkipJsonSchema

from runtime.scratch import CLIP, scratch_folder
from schemas.api.speakers import DeletedSpeaker, SpeakerBody, SpeakerList
from schemas.errors import InvalidParameter
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.request_bodies import saved_clip
from serve.services.speaker_registry import SpeakerClip

router = APIRouter(prefix="/v1/speakers", tags=["speakers"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[str, Path(max_length=100, description="Speaker id.")]


@router.post("")
async def add(
    user: User,
    s: _Services,
    name: Annotated[
        str,
        Form(
            min_length=1,
            max_length=100,
            description="The person's name; unique in the account.",
            json_schema_extra={"pattern": r"\S"},
        ),
    ],
    audio: Annotated[UploadFile, File(description="Reference clip of this person alone, 1.5 to 30 s.")],
    consent: Annotated[UploadFile | SkipJsonSchema[None], File(description="The speaker's recorded consent.")] = None,
    consent_statement: Annotated[str | None, Form(max_length=5000, description="What the speaker agreed to.")] = None,
) -> SpeakerBody:
    """Add a speaker by a reference clip, private to this account. Transcripts name them with `name_speakers=true`."""
    if not name.strip():
        raise InvalidParameter("name: must not be empty", param="name")
    limit = s.settings.speech.clone_max_bytes
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(s.settings.scratch, CLIP))
        sent = SpeakerClip(
            name=name.strip(),
            clip=await saved_clip(audio, folder / "audio", limit),
            consent=await saved_clip(consent, folder / "consent", limit) if consent is not None else None,
            consent_statement=(consent_statement or "").strip() or None,
        )
        return SpeakerBody.of(await s.speakers.add(user.account, sent))


@router.get("")
async def list_speakers(user: User, s: _Services) -> SpeakerList:
    """The account's speakers, newest first."""
    return SpeakerList(speakers=[SpeakerBody.of(one) for one in await s.ledger.speakers.of_account(user.account)])


@router.get("/{speaker_id}")
async def get(speaker_id: _Id, user: User, s: _Services) -> SpeakerBody:
    """One speaker."""
    return SpeakerBody.of(await s.ledger.speakers.get(user.account, speaker_id))


@router.delete("/{speaker_id}")
async def delete(speaker_id: _Id, user: User, s: _Services) -> DeletedSpeaker:
    """Remove a speaker with the clip and the consent. Transcripts no longer name the speaker."""
    await s.speakers.delete(user.account, speaker_id)
    return DeletedSpeaker(id=speaker_id)
