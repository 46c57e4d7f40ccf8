"""Turns from planted probabilities: thresholds, short gaps, overlap, and an exclusive view of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.domain import Turn
from serve.engines.diarization.turns import OFFSET, ONSET, Probabilities, joined, turns_of, with_overlap

pytestmark = pytest.mark.unit

FRAME = 0.08


def planted(num_frames: int, *stretches: tuple[int, int, int, float], speakers: int = 2) -> Probabilities:
    """Zeros but for ``(speaker, first frame, past the last, probability)``."""
    found = np.zeros((num_frames, speakers), np.float32)
    for speaker, first, last, value in stretches:
        found[first:last, speaker] = value
    return found


def frames(turns: list[Turn]) -> list[tuple[int, int, int, bool]]:
    return [(t.speaker, round(t.start_secs / FRAME), round(t.end_secs / FRAME), t.overlap) for t in turns]


def test_a_turn_lasts_from_the_onset_to_where_it_falls_below_the_offset() -> None:
    between = (ONSET + OFFSET) / 2
    found = planted(60, (0, 5, 10, between), (0, 10, 20, 0.9), (0, 20, 30, between), (0, 30, 40, OFFSET - 0.05))
    assert frames(turns_of(found, FRAME)) == [(0, 10, 30, False)]


def test_short_gaps_are_filled_and_short_sounds_left_out() -> None:
    found = planted(80, (0, 10, 20, 0.9), (0, 23, 30, 0.9), (0, 40, 50, 0.9), (0, 60, 61, 0.9))
    assert frames(turns_of(found, FRAME)) == [(0, 10, 30, False), (0, 40, 50, False)]


def test_silence_at_an_edge_is_no_gap() -> None:
    assert frames(turns_of(planted(20, (0, 2, 18, 0.9)), FRAME)) == [(0, 2, 18, False)]


def test_where_two_talk_the_more_probable_one_is_prominent() -> None:
    found = planted(100, (0, 0, 60, 0.9), (1, 30, 45, 0.7), (1, 60, 80, 0.9))
    turns = turns_of(found, FRAME, start_secs=8.0)
    assert turns[0].start_secs == 8.0
    moved = [Turn(t.speaker, t.start_secs - 8.0, t.end_secs - 8.0, t.overlap) for t in turns]
    assert frames(moved) == [(0, 0, 60, False), (1, 30, 45, True), (1, 60, 80, False)]


def test_prominence_changes_once_where_the_probabilities_cross() -> None:
    ramp = np.linspace(1.0, 0.6, 50, dtype=np.float32)
    turns = turns_of(np.stack([ramp, ramp[::-1]], axis=1), FRAME)
    exclusive = [t for t in frames(turns) if not t[3]]
    assert exclusive == [(0, 0, 25, False), (1, 25, 50, False)]
    assert [t for t in frames(turns) if t[3]] == [(1, 0, 25, True), (0, 25, 50, True)]


def test_a_turn_that_continues_in_the_next_block_is_one() -> None:
    turns = [Turn(0, 0.0, 10.0), Turn(1, 4.0, 5.0, True), Turn(0, 10.1, 12.0), Turn(1, 12.0, 13.0), Turn(0, 13.05, 14.0)]
    assert joined(turns) == [Turn(0, 0.0, 12.0), turns[1], turns[3], turns[4]]


def test_joining_never_runs_over_another_speaker() -> None:
    turns = [Turn(0, 0.0, 1.0), Turn(1, 1.0, 1.2), Turn(0, 1.2, 2.0)]
    assert joined(turns) == turns


@pytest.mark.parametrize("shape", [(0, 4), (0, 0), (10, 0), (1, 1)])
def test_nothing_gives_no_turns(shape: tuple[int, int]) -> None:
    assert turns_of(np.zeros(shape, np.float32), FRAME) == []


@given(st.integers(1, 300), st.integers(1, 4), st.integers(0, 2**31))
@settings(deadline=None, max_examples=80)
def test_the_exclusive_view_has_one_speaker_at_a_time_and_covers_all_speech(
    num_frames: int, speakers: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    found = np.repeat(chance.random((num_frames // 6 + 1, speakers), dtype=np.float32), 6, axis=0)[:num_frames]
    turns = frames(turns_of(found, FRAME))
    exclusive, talk = np.zeros(num_frames, int), np.zeros((num_frames, speakers), int)
    for speaker, first, last, overlap in turns:
        assert 0 <= first < last <= num_frames
        talk[first:last, speaker] += 1
        exclusive[first:last] += not overlap
    assert talk.max() <= 1
    assert (exclusive == talk.any(axis=1)).all()


def test_what_lies_under_anothers_prominent_turn_is_overlap() -> None:
    prominent = [Turn(0, 0.0, 2.0), Turn(1, 2.0, 3.0), Turn(0, 3.0, 5.0), Turn(1, 5.0, 6.0), Turn(2, 6.0, 7.0)]
    whole = [Turn(0, 0.0, 5.5), Turn(1, 2.0, 3.0), Turn(1, 4.0, 6.0), Turn(2, 6.0, 7.0)]
    assert with_overlap(whole, prominent) == [
        Turn(0, 0.0, 2.0),
        Turn(0, 2.0, 3.0, overlap=True),
        Turn(1, 2.0, 3.0),
        Turn(0, 3.0, 5.0),
        Turn(1, 4.0, 5.0, overlap=True),
        Turn(1, 5.0, 6.0),
        Turn(0, 5.0, 5.5, overlap=True),
        Turn(2, 6.0, 7.0),
    ]


def test_a_turn_over_several_others_is_one_stretch_of_overlap() -> None:
    prominent = [Turn(1, 0.0, 2.0), Turn(2, 2.0, 3.0)]
    assert with_overlap([Turn(0, 1.0, 2.5)], prominent) == [Turn(0, 1.0, 2.5, overlap=True)]
    assert with_overlap([], prominent) == []
