"""`fluxions bench realtime --stub`: real sessions on a real socket are answered, interrupted and measured."""

from __future__ import annotations

import pytest

from benchmarks.platform import realtime_memory, turn_ends
from benchmarks.platform.realtime import measure
from benchmarks.platform.realtime_stub import stub_server
from schemas.settings import Settings

pytestmark = pytest.mark.contract


def test_conversations_are_measured() -> None:
    with stub_server() as target:
        found = {one.name: one.value for one in measure(target, sessions=2, turns=2, recorded=False)}
    assert found["turns without an answer"] == 0
    assert found["stale events with sound"] == 0
    # Half a second of silence ends a turn, and is part of it.
    assert 0.4 < found["end of speech to first sound, p50"] < 3.0
    assert found["end of turn to first sound, p50"] < found["end of speech to first sound, p50"]
    assert found["interruption to last sound, p95"] < 1.0


def test_ends_of_turns_are_measured_in_the_time_of_the_audio() -> None:
    found = {one.name: one.value for one in turn_ends.measure(Settings(), 1)}
    # The only pause is a short one.
    assert found["turns with a pause of over 600 ms"] == found["server_vad, 600 ms: turns cut off"] == 0
    assert 0.5 < found["server_vad, 600 ms: end found after, p50"] < 0.8
    assert found["semantic_vad, auto: turns cut off"] == found["semantic_vad, low: turns cut off"] == 0


def test_the_memory_of_sessions_is_bounded() -> None:
    found = {one.name: one.value for one in realtime_memory.measure(sessions=4, minutes=14)}
    assert found["memory of a session"] < 8
    assert found["growth of a session from minute 12 to 14"] < 8
