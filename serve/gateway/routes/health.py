"""Is it up, and can it work."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from serve.gateway.services import Services, services
from serve.slots import infos

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str
    gateway: str


class Ready(BaseModel):
    status: str
    engine_revision: str
    engines: list[dict[str, Any]]


@router.get("/health")
async def health(s: Annotated[Services, Depends(services)]) -> Health:
    """The gateway answers. No key needed."""
    return Health(status="ok", gateway=s.settings.server.url.split("://", 1)[-1])


@router.get("/ready")
async def ready(s: Annotated[Services, Depends(services)]) -> Ready:
    """The ledger and every engine answer with their models loaded; until then 503, and why. No key needed."""
    await s.ledger.stats()
    ready = infos(await s.engines.slots())
    return Ready(status="ready", engine_revision=s.engine_revision, engines=[i.to_json() for i in ready])
