"""`/health` and `/ready`: whether the server runs, and whether it can work."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from schemas.api.administration import Health, Ready, StorageBody
from serve.engines.status import infos
from serve.gateway.dependencies import Services, services

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(s: Annotated[Services, Depends(services)]) -> Health:
    """The gateway answers. No key needed."""
    return Health(status="ok", gateway=s.settings.server.url.split("://", 1)[-1])


@router.get("/ready")
async def ready(s: Annotated[Services, Depends(services)]) -> Ready:
    """The ledger and every engine answer with their models loaded; until then 503 with the reason. No key needed.

    `storage` says whether disk space is short.
    """
    await s.ledger.maintenance.stats()
    ready = infos(await s.engines.slots())
    room = s.objects.space()
    return Ready(
        status="ready",
        engine_revision=s.engine_revision,
        engines=[i.to_json() for i in ready],
        storage=StorageBody(state=room.state, free_bytes=room.free_bytes, reserve_bytes=room.reserve_bytes),
    )
