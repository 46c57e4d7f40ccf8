"""What serves: the engine and model of every slot."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from schemas.engines import Slot
from serve.gateway.auth import User
from serve.gateway.services import Services, services
from serve.slots import slot_json

router = APIRouter(prefix="/v1", tags=["models"])


class ModelBody(BaseModel):
    id: str = Field(description="The model as it was chosen: a hub name, a path, or the engine's own model.")
    object: Literal["model"]
    slot: Slot
    engine: str
    revision: str | None = Field(description="Engine, model and decoding options; in every result. Null until ready.")
    capabilities: dict[str, Any] = Field(description="What the engine can do, by slot; empty until ready.")
    replicas: int = Field(description="Most processes that serve the slot.")
    ready: bool
    problem: str | None = Field(description="Why it is not ready, and what to do.")


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelBody]


@router.get("/models")
async def models(_: User, s: Annotated[Services, Depends(services)]) -> ModelList:
    """Every slot, ready or not: its engine, model, revision and capabilities."""
    return ModelList(data=[ModelBody(**slot_json(status)) for status in await s.engines.slots()])
