"""`/transcriptions/{id}/corrections` and `/peaks`: data with which a page shows and corrects a transcript."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from schemas.api.corrections import CorrectionsBody, CorrectionsChange, PeaksBody
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/transcriptions", tags=["transcription"])

_Services = Annotated[Services, Depends(services)]
_Id = Annotated[int, Path(ge=1, le=2**63 - 1, description="Transcription id.")]


@router.get("/{job_id}/peaks")
async def peaks(
    job_id: _Id,
    user: User,
    s: _Services,
    points: Annotated[int, Query(ge=1, le=20_000, description="Largest number of points.")] = 2000,
) -> PeaksBody:
    """The waveform. Where the worker sent none, it is computed from the playback copy the first time."""
    job = await s.transcriptions.get(user.account, job_id)
    found = await s.waveforms.peaks(job, points)
    return PeaksBody(duration_secs=round(job.audio_duration_secs or 0.0, 3), peaks=found.tolist())


@router.get("/{job_id}/corrections")
async def get_corrections(job_id: _Id, user: User, s: _Services) -> CorrectionsBody:
    """The corrections of the transcript. Transcripts that share a cached result share their corrections."""
    return await s.corrections.of(await s.transcriptions.get(user.account, job_id))


@router.patch("/{job_id}/corrections")
async def change_corrections(job_id: _Id, body: CorrectionsChange, user: User, s: _Services) -> CorrectionsBody:
    """Correct words and name speakers, as a new revision. The engine's transcript is not changed."""
    return await s.corrections.change(await s.transcriptions.get(user.account, job_id), body)
