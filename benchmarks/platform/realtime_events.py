"""Evaluates the audio events that were received in a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.domain import SPEECH_RATE_HZ, Seconds

Received = Sequence[tuple[Seconds, dict[str, Any]]]
"""Events in order, with the times at which they were received."""
_BASE64_CHARS_PER_SEC = 4 / 3 * 2 * SPEECH_RATE_HZ
"""Of s16le audio at 24 kHz."""


def sounds_of(seen: Received, response_id: str) -> list[Seconds]:
    """When the audio events of a response were received."""
    return [at for at, event in seen if _is_sound_of(event, response_id)]


def gap_secs(seen: Received, response_id: str) -> Seconds:
    """Silence in the playback of a response that a client plays as it arrives: audio that came late."""
    gap, played_until = 0.0, None
    for at, event in seen:
        if _is_sound_of(event, response_id):
            start = at if played_until is None else max(at, played_until)
            gap += 0.0 if played_until is None else start - played_until
            played_until = start + len(event["delta"]) / _BASE64_CHARS_PER_SEC
    return gap


def num_stale(seen: Received) -> int:
    """Audio events of responses after their ends."""
    over: set[str] = set()
    stale = 0
    for _, event in seen:
        if event["type"] == "response.done":
            over.add(event["response"]["id"])
        stale += event["type"] == "response.output_audio.delta" and event["response_id"] in over
    return stale


def _is_sound_of(event: dict[str, Any], response_id: str) -> bool:
    return event["type"] == "response.output_audio.delta" and bool(event["response_id"] == response_id)
