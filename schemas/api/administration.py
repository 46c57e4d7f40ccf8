"""Bodies for operators of a server: health, models of the slots, API keys, maintenance tasks, status."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from schemas.domain import Slot
from schemas.gateway_settings import MOST_TOKEN_SECS
from schemas.records import ApiKey
from schemas.scopes import SCOPES
from schemas.speech_engines import SlotStatus
from schemas.times import iso


class ModelBody(BaseModel):
    """The engine of one slot, ready or not."""

    id: str = Field(description="The chosen model: a hub name, a path, or the engine's own model.")
    object: Literal["model"] = "model"
    created: int = Field(0, description="Not known of a model; there because OpenAI's clients read it.")
    owned_by: str = "fluxions"
    slot: Slot
    engine: str
    revision: str | None = Field(description="Engine, model and decoding options; in every result. Null until ready.")
    capabilities: dict[str, Any] = Field(description="What the engine can do, by slot; empty until ready.")
    replicas: int = Field(description="Largest number of processes that serve the slot.")
    ready: bool
    problem: str | None = Field(description="Why it is not ready, and what to do.")

    @classmethod
    def of(cls, status: SlotStatus) -> Self:
        """The body for the domain value."""
        info = status.info
        return cls(
            id=status.model or status.engine,
            slot=status.slot,
            engine=status.engine,
            revision=info.revision if info else None,
            capabilities=info.capabilities if info else {},
            replicas=status.replicas,
            ready=info is not None,
            problem=status.problem,
        )


class ModelList(BaseModel):
    """The engines of all slots."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class NewKeyRequest(BaseModel):
    """An API key to create."""

    account: str = Field("default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    name: str = Field("", max_length=100)
    scopes: list[str] = Field(default_factory=lambda: ["user"], min_length=1, max_length=8)
    expires_in_secs: float | None = Field(
        None, gt=0, le=10 * 365 * 86_400, description="Time until the key expires, s; it never expires if absent."
    )


class RotateRequest(BaseModel):
    """A request to replace an API key by a new one."""

    grace_secs: float = Field(86_400.0, ge=0, le=365 * 86_400, description="How long the old key still works.")


class TokenRequest(BaseModel):
    """A short-lived token to make."""

    scopes: list[str] = Field(
        min_length=1,
        max_length=8,
        description="Scopes of the token; the key must have them.",
        json_schema_extra={"items": {"type": "string", "enum": list(SCOPES)}},
    )
    seconds: float = Field(
        300.0,
        ge=1,
        description="Lifetime, at most FLUXIONS_TOKEN_MAX_SECS.",
        json_schema_extra={"maximum": MOST_TOKEN_SECS},
    )


class TokenBody(BaseModel):
    """A token. Only this response contains it."""

    token: str
    scopes: list[str]
    expires_at: str


class AccountBody(BaseModel):
    """The key or token of a request."""

    account: str
    scopes: list[str] = Field(description="Scopes of the key; `user` is expanded to the scopes that it stands for.")
    is_key: bool = Field(description="Whether it is an API key, which can make tokens.")


class KeyBody(BaseModel):
    """An API key without its secret."""

    id: str
    account: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    revoked_at: str | None
    ending: str | None = None
    expires_at: str | None = None
    last_used_at: str | None = None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """The body for the domain value."""
        return cls(
            id=key.id,
            account=key.account,
            name=key.name,
            prefix=key.prefix,
            scopes=list(key.scopes),
            created_at=iso(key.created_at),
            revoked_at=iso(key.revoked_at) if key.revoked_at else None,
            ending=key.ending,
            expires_at=iso(key.expires_at) if key.expires_at else None,
            last_used_at=iso(key.last_used_at) if key.last_used_at else None,
        )


class CreatedKey(KeyBody):
    """A new API key; ``key`` is shown only here."""

    key: str


class KeyList(BaseModel):
    """All API keys."""

    keys: list[KeyBody]


class MaintenanceBody(BaseModel):
    """What a maintenance task did: counts by name, and its wall time."""

    task: str
    counts: dict[str, int]
    secs: float


class MaintenanceAnswer(BaseModel):
    """The state of a maintenance task; ``report`` is there once it is done."""

    state: Literal["running", "done"]
    report: MaintenanceBody | None


class StatusAnswer(BaseModel):
    """Engines and jobs of the server."""

    engines: list[ModelBody]
    jobs: dict[str, Any]


class Health(BaseModel):
    """The answer of `/health`."""

    status: str
    gateway: str


class StorageBody(BaseModel):
    """Free space: `short` before the disk is full, `full` when uploads are refused."""

    state: Literal["ok", "short", "full"]
    free_bytes: int | None
    reserve_bytes: int


class Ready(BaseModel):
    """The answer of `/ready`."""

    status: str
    engine_revision: str
    engines: list[dict[str, Any]]
    storage: StorageBody
