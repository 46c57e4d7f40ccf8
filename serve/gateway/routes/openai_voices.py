"""`/v1/audio/voices` and `/v1/audio/voice_consents`: cloned voices in OpenAI's API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParam

from runtime.scratch import CLIP, scratch_folder
from schemas.api.openai_voices import (
    ConsentBody,
    ConsentList,
    DeletedConsent,
    NewConsentForm,
    NewVoiceForm,
    OpenAIDeletedVoice,
    OpenAIVoice,
    RenamedConsent,
)
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services
from serve.gateway.openai_route import OpenAIRoute
from serve.gateway.openai_uploads import form_schema, uploaded, valid_form
from serve.gateway.request_bodies import saved_clip
from serve.services.voice_cloning import Clip

router = APIRouter(prefix="/v1/audio", tags=["openai"], route_class=OpenAIRoute)

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[str, PathParam(min_length=1, max_length=100)]


@router.post("/voices", openapi_extra=form_schema(NewVoiceForm, "audio_sample"))
async def create_voice(request: Request, user: User, s: _Services) -> OpenAIVoice:
    """Create a voice from `audio_sample`, with the recorded consent of its speaker."""
    async with uploaded(request, "audio_sample") as (file, values):
        form = valid_form(NewVoiceForm, values)
        with scratch_folder(s.settings.scratch, CLIP) as folder:
            clip = Clip(audio=await saved_clip(file, folder / "audio"), name=form.name, audio_field="audio_sample")
            if form.consent:
                clip = await s.consents.attached(clip, user.account, form.consent, folder)
            return OpenAIVoice.of(await s.cloning.clone(user.account, clip))


@router.delete("/voices/{voice_id}")
async def delete_voice(voice_id: _Id, user: User, s: _Services) -> OpenAIDeletedVoice:
    """Delete a voice with its sample and its copy of the consent."""
    await s.cloning.delete(user.account, voice_id)
    return OpenAIDeletedVoice(id=voice_id)


@router.post("/voice_consents", openapi_extra=form_schema(NewConsentForm, "recording"))
async def create_consent(request: Request, user: User, s: _Services) -> ConsentBody:
    """Store a person's recorded consent to the cloning of their voice."""
    async with uploaded(request, "recording") as (file, values):
        form = valid_form(NewConsentForm, values)
        with scratch_folder(s.settings.scratch, CLIP) as folder:
            path = await saved_clip(file, folder / "recording")
            return ConsentBody.of(await s.consents.add(user.account, form.name, form.language, path))


@router.get("/voice_consents")
async def list_consents(
    user: User,
    s: _Services,
    after: Annotated[str | None, Query(max_length=100, description="The last id of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> ConsentList:
    """The account's consents, newest first."""
    found, has_more = await s.consents.page(user.account, after, limit)
    page = [ConsentBody.of(one) for one in found]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return ConsentList(data=page, first_id=first, last_id=last, has_more=has_more)


@router.get("/voice_consents/{consent_id}")
async def get_consent(consent_id: _Id, user: User, s: _Services) -> ConsentBody:
    """One consent."""
    return ConsentBody.of(await s.ledger.consents.get(user.account, consent_id))


@router.post("/voice_consents/{consent_id}")
async def rename_consent(consent_id: _Id, body: RenamedConsent, user: User, s: _Services) -> ConsentBody:
    """Rename a consent."""
    return ConsentBody.of(await s.consents.rename(user.account, consent_id, body.name))


@router.delete("/voice_consents/{consent_id}")
async def delete_consent(consent_id: _Id, user: User, s: _Services) -> DeletedConsent:
    """Delete a consent with its recording."""
    await s.consents.delete(user.account, consent_id)
    return DeletedConsent(id=consent_id)
