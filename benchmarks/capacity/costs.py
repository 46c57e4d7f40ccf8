"""The measured costs of a plan, read from a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import InvalidParameter

SHIPPED = Path(__file__).with_name("costs.json")


class _Measured(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    measured: str = Field(min_length=10)
    """The command or page, and the conditions."""


class CoreSeconds(_Measured):
    """Seconds of one core for an hour of audio, by part."""

    values: dict[str, float]


class PerRecording(_Measured):
    """Seconds around the engines for each recording."""

    value: float = Field(gt=0)


class LedgerCost(_Measured):
    """What one ledger can do: whole jobs a second, from submission to the tables."""

    jobs_per_sec: float = Field(gt=0)
    core_ms_per_job: float = Field(gt=0)


class Node(_Measured):
    """A kind of machine. ``audio_secs_per_sec`` is its speed with one recording at a time and all of the machine."""

    name: str
    cores: int = Field(ge=1)
    gpus: int = Field(ge=0)
    audio_secs_per_sec: float = Field(gt=0)


class Costs(BaseModel):
    """All measured costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    core_secs_per_audio_hour: CoreSeconds
    secs_per_recording: PerRecording
    ledger: LedgerCost
    nodes: tuple[Node, ...]

    @classmethod
    def read(cls, path: Path = SHIPPED) -> Self:
        """Raises InvalidParameter for a file that cannot be read or lacks a value."""
        try:
            return cls.model_validate_json(path.read_text())
        except OSError as error:
            raise InvalidParameter(f"{path} cannot be read: {error.strerror}", param="costs") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidParameter(f"{path}: {where}: {first['msg']}", param="costs") from error

    def node(self, name: str) -> Node:
        """Raises InvalidParameter for a kind of machine that was not measured."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise InvalidParameter(
            f"no measured costs of {name!r}, only of {known}; measure one by `fluxions bench transcribe` on it, and add it "
            "to a copy of benchmarks/capacity/costs.json that --costs names",
            param="gpu",
        )
