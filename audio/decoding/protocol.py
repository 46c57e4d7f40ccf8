"""The messages between the parent and a decoding child: open files and a job in one direction, a report in the other.

The child answers a job with `STARTED`, then with its report. This module imports neither program, so the parent loads no
codec and the child no settings.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from runtime import frames
from schemas.domain import SAMPLE_RATE_HZ, Seconds, TranscriptWarning

STARTED: Final[dict[str, Any]] = {"started": True}
"""The head of a child's first frame for each job. A child that ends without it never opened the file."""

FRAME_MAX_BYTES: Final = 1024 * 1024
"""Longest frame a child may send; the positions of damaged packets need the most."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded recording: raw s16le mono at its job's rate. ``source_rate_hz`` and ``channels`` are the original's."""

    num_samples: int
    duration_secs: Seconds
    codec: str
    container: str
    source_rate_hz: int
    channels: int
    warnings: tuple[TranscriptWarning, ...] = ()
    """Warnings about truncation, damage or a wrong header of a file that could be decoded."""
    audio_track: int = 0
    """Number of the decoded audio track, from 0."""
    audio_tracks: int = 1
    """Number of audio tracks of the file."""
    default_track: int | None = None
    """The one audio track that the file flags as its default; None where it flags none or several."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of decoding one file.

    ``memory_bytes`` is in addition to the memory that the child has mapped before it reads the file.
    """

    max_audio_secs: Seconds
    max_ratio: float
    memory_bytes: int
    cpu_secs: Seconds
    rate_hz: int = SAMPLE_RATE_HZ
    audio_track: int | None = None
    """The audio track to decode, counted from 0; None for the default one, else the first."""


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One file for one child, which gets both files open and never learns their names."""

    source: str
    target: str
    limits: DecodeLimits


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why there is no audio.

    Without a ``code`` the machine failed (a full disk, a missing folder), not the file.
    """

    message: str
    code: str | None


STREAM_MAX_BYTES: Final = 8 * 1024 * 1024
"""Most decoded bytes of one piece of a live stream: four minutes."""

MAGIC_BYTES: Final = 4
CONTAINERS: Final = {b"OggS": "ogg", b"\x1a\x45\xdf\xa3": "matroska"}
"""Demuxers of live streams by the first `MAGIC_BYTES`."""

STREAM: Final = b"s"
"""A byte that announces a live stream instead of a file (`audio.decoding.stream_worker`); the limits' frame follows it."""

JOB_FILES: Final = b"f"
"""A byte that carries two file descriptors, of the input and of the output; the job's frame follows it."""


def limits_to_json(limits: DecodeLimits) -> dict[str, Any]:
    """The head of a job's frame."""
    return asdict(limits)


def limits_from_json(head: dict[str, Any]) -> DecodeLimits:
    """The inverse of `limits_to_json`."""
    return DecodeLimits(**head)


def report_to_json(report: Decoded | Refusal) -> dict[str, Any]:
    """The head of a report's frame."""
    return asdict(report)


def report_from_json(head: dict[str, Any]) -> Decoded | Refusal:
    """Raises ValueError, TypeError or KeyError if it is no report: the child that sent it is not trusted."""
    if "message" in head:
        return Refusal(str(head["message"]), None if head["code"] is None else str(head["code"]))
    return Decoded(
        num_samples=int(head["num_samples"]),
        duration_secs=float(head["duration_secs"]),
        codec=str(head["codec"]),
        container=str(head["container"]),
        source_rate_hz=int(head["source_rate_hz"]),
        channels=int(head["channels"]),
        warnings=tuple(
            TranscriptWarning(str(w["code"]), str(w["message"]), None if w["at_secs"] is None else float(w["at_secs"]))
            for w in head["warnings"]
        ),
        audio_track=int(head["audio_track"]),
        audio_tracks=int(head["audio_tracks"]),
        default_track=None if head["default_track"] is None else int(head["default_track"]),
    )


def exit_status(status: int) -> bytes:
    """The frame in which the fork server reports a child's end: its exit code, or minus the signal's number."""
    return frames.encode({"status": status})


def exit_status_from(head: dict[str, Any]) -> int:
    """The inverse of `exit_status`, for the frame's head."""
    return int(head["status"])
