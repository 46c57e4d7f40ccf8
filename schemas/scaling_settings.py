"""Settings of the number of replicas of engines over time. `schemas.settings` has all settings."""

from __future__ import annotations

from typing import get_args

from pydantic import Field, field_validator

from schemas.domain import Slot
from schemas.language_model_settings import Concern


class ScalingSettings(Concern):
    """Replicas by load."""

    scale_queue_secs: float = Field(
        2.0,
        gt=0,
        le=3600,
        description="Age of the oldest request in a replica's queue above which replicas are added, s.",
    )
    scale_up_secs: float = Field(
        5.0, ge=0, le=3600, description="How long the queue is that old before replicas are added, s."
    )
    scale_down_secs: float = Field(
        600.0, ge=0, le=86_400, description="How long fewer replicas would do before some are ended, s."
    )
    engine_idle_secs: float = Field(
        0.0,
        ge=0,
        le=604_800,
        description="Time without a request after which all replicas of an engine are ended; the next request waits until "
        "it is loaded again; 0: one stays, s.",
    )
    engine_idle_slots: str = Field(
        "", description="Slots whose engines may be ended so, comma-separated: `diarizer,language_model`; empty: all."
    )

    @field_validator("engine_idle_slots")
    @classmethod
    def _known(cls, value: str) -> str:
        if unknown := set(_parts(value)) - set(get_args(Slot)):
            raise ValueError(f"no slot is called {', '.join(sorted(unknown))}; there are {', '.join(get_args(Slot))}")
        return value

    def idle_secs(self, slot: Slot) -> float:
        """`engine_idle_secs` for ``slot``; 0 where its engine stays."""
        named = _parts(self.engine_idle_slots)
        return self.engine_idle_secs if not named or slot in named else 0.0


def _parts(value: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(","))))
