"""The two channels of a conversation: placing, removing and taking audio, with silence in gaps."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from serve.services.conversation_sound import TwoSides

pytestmark = pytest.mark.unit


def tone(value: int, secs: float) -> bytes:
    return np.full(round(secs * SPEECH_RATE_HZ), value, "<i2").tobytes()


def at(both: bytes, secs: float) -> tuple[int, int]:
    left, right = np.frombuffer(both, "<i2").reshape(-1, 2)[round(secs * SPEECH_RATE_HZ)]
    return int(left), int(right)


def test_each_side_is_where_it_was_placed() -> None:
    sides = TwoSides()
    sides.put(0, 0.5, tone(7, 1.0))
    sides.put(1, 1.2, tone(9, 0.5))
    both = sides.take(sides.secs)
    assert len(both) == 4 * round(1.7 * SPEECH_RATE_HZ)
    assert [at(both, secs) for secs in (0.1, 0.6, 1.3, 1.6)] == [(0, 0), (7, 0), (7, 9), (0, 9)]


def test_what_was_taken_back_is_silence_and_what_was_taken_stays() -> None:
    sides = TwoSides()
    sides.put(1, 0.0, tone(9, 4.0))
    first = sides.take(1.0)
    sides.cut(1, 2.0)
    sides.cut(1, 0.5)  # before what was taken: nothing of the rest is heard
    sides.put(0, 2.5, tone(7, 0.5))
    rest = sides.take(sides.secs)
    assert at(first, 0.9) == (0, 9)
    assert [at(rest, secs) for secs in (0.1, 1.6)] == [(0, 0), (7, 0)]
    assert sides.take(sides.secs) == b""


def test_late_and_far_too_early_sound_is_dropped() -> None:
    sides = TwoSides()
    sides.take(2.0)
    sides.put(0, 1.5, tone(7, 1.0))
    sides.put(1, 10_000.0, tone(9, 1.0))
    both = sides.take(sides.secs)
    assert len(both) == 4 * round(0.5 * SPEECH_RATE_HZ)
    assert at(both, 0.2) == (7, 0)
    assert sides.waiting_samples(0.0) == 0
