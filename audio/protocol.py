"""What the parent and a decoding child say to each other: a job in, a report out, one JSON line each.

Apart from both so that the parent loads no codec and the child no settings.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from schemas.domain import SAMPLE_RATE_HZ, Seconds

BEGUN = b"begun\n"
"""A child's first line for each job, written when it has it: a child that ends without it never touched the file."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A recording now lying as raw s16le mono at its job's rate. ``source_rate_hz`` and ``channels`` are the original's."""

    num_samples: int
    duration_secs: Seconds
    codec: str
    container: str
    source_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One file for one child. ``memory_bytes`` comes on top of what the child maps before it sees the file."""

    source: str
    target: str
    max_audio_secs: Seconds
    max_ratio: float
    memory_bytes: int
    cpu_secs: Seconds
    rate_hz: int = SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no audio. Without a ``code`` the machine failed, not the file (a full disk, a missing folder)."""

    message: str
    code: str | None


def dump_line(value: DecodeJob | Decoded | Refusal) -> bytes:
    return json.dumps(asdict(value)).encode() + b"\n"


def load_job(line: bytes) -> DecodeJob:
    return DecodeJob(**json.loads(line))


def load_report(line: bytes) -> Decoded | Refusal:
    """Raises ValueError, TypeError or KeyError if the line is no report: the child is not trusted."""
    report = json.loads(line)
    if "message" in report:
        return Refusal(str(report["message"]), None if report["code"] is None else str(report["code"]))
    return Decoded(
        num_samples=int(report["num_samples"]),
        duration_secs=float(report["duration_secs"]),
        codec=str(report["codec"]),
        container=str(report["container"]),
        source_rate_hz=int(report["source_rate_hz"]),
        channels=int(report["channels"]),
    )
