"""`GET /v1/models`: the engine and model of every slot, and the model behind an alias."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from schemas.api.administration import ModelBody, ModelList
from serve.gateway.auth import User
from serve.gateway.dependencies import Services, services

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models")
async def models(_: User, s: Annotated[Services, Depends(services)]) -> ModelList:
    """Every slot, ready or not: its engine, model, revision and capabilities."""
    return ModelList(data=[ModelBody.of(status) for status in await s.engines.slots()])


@router.get("/models/{name:path}")
async def model(
    name: Annotated[str, Path(min_length=1, max_length=400, description="A model's id, slashes included, or an alias.")],
    _: User,
    s: Annotated[Services, Depends(services)],
) -> ModelBody:
    """One model by its id; for an alias such as `whisper-1` the model behind it, with the alias as id."""
    found = s.model_names.find(name, await s.engines.slots())
    return ModelBody.of(found).model_copy(update={"id": name})
