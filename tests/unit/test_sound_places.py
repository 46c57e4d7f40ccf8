"""Where a stream of sound lies in a recording."""

from __future__ import annotations

import pytest

from serve.realtime.sound_places import SoundPlaces

pytestmark = pytest.mark.unit


def places(*pieces: tuple[float, float]) -> SoundPlaces:
    made = SoundPlaces()
    for at_secs, secs in pieces:
        made.add(at_secs, secs)
    return made


def test_without_a_pause_a_position_is_as_far_from_the_beginning() -> None:
    found = places((2.0, 0.1), (2.1, 0.1), (2.2, 0.8))
    assert (found.begin(0.5), found.end(1.0)) == (pytest.approx(2.5), pytest.approx(3.0))
    assert found.length_secs == pytest.approx(1.0)


def test_at_a_pause_sound_begins_after_it_and_ends_before_it() -> None:
    found = places((0.0, 1.0), (20.0, 1.0))
    assert found.begin(1.0) == pytest.approx(20.0)
    assert found.end(1.0) == pytest.approx(1.0)
    assert found.begin(1.5) == found.end(1.5) == pytest.approx(20.5)


def test_what_precedes_speech_does_not_reach_over_a_pause() -> None:
    found = places((0.0, 1.0), (20.0, 1.0))
    assert found.begin(1.1, 0.3) == pytest.approx(20.0)
    assert found.end(0.04) == pytest.approx(0.04)
    assert found.begin(1.5, 0.3) == pytest.approx(20.2)


def test_a_pause_close_to_the_speech_is_not_within_it() -> None:
    """Speech is found in frames, one of which may lie across the pause."""
    found = places((0.0, 1.0), (20.0, 1.0), (50.0, 1.0))
    assert found.begin(0.97, 0.3) == pytest.approx(20.0)
    assert found.end(2.03) == pytest.approx(21.0)


def test_without_sound_there_is_no_place() -> None:
    found = places((3.0, 0.0))
    assert (found.begin(0.0), found.end(0.0)) == (None, None)
