"""Bodies of `/v1/realtime/client_secrets`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ExpiresAfter(BaseModel):
    """How long a secret opens sessions."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200, description="From now on, s.")


class NewClientSecret(BaseModel):
    """A secret, and the session that it starts."""

    model_config = ConfigDict(extra="ignore")

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = Field(
        default_factory=lambda: {"type": "realtime"}, description="As in `session.update`; `type` is `realtime` by default."
    )


class ClientSecretBody(BaseModel):
    """A secret that was made."""

    value: str = Field(description="Begins with `ek_`; it is shown once.")
    expires_at: int = Field(description="Unix time, s.")
    session: dict[str, Any] = Field(description="The whole session that it starts.")
