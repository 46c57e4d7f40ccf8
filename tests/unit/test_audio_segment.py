"""Regions and utterances, from probabilities alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.segment import OVERLAP_SECS, THRESHOLD, utterances
from audio.vad import FRAME_SECS, Probabilities, regions
from schemas.domain import Span

FRAME = st.sampled_from([0.0, 0.1, 0.34, 0.36, 0.49, 0.5, 0.51, 0.9, 1.0])


@st.composite
def stretches(draw: st.DrawFn) -> Probabilities:
    """Runs of equal probability, as speech has, up to a minute."""
    runs = draw(st.lists(st.tuples(FRAME, st.integers(1, 120)), max_size=20))
    return np.repeat(np.array([p for p, _ in runs], np.float32), [n for _, n in runs])


def frames(probabilities: list[tuple[float, int]]) -> Probabilities:
    return np.repeat(np.array([p for p, _ in probabilities], np.float32), [n for _, n in probabilities])


@settings(max_examples=300, deadline=None)
@given(stretches(), st.floats(1.0, 25.0), st.floats(0.0, 1.0))
def test_every_speech_frame_lies_in_an_utterance_and_only_neighbours_overlap(
    found: Probabilities, max_secs: float, last: float
) -> None:
    # The last frame of a recording is rarely a whole one.
    duration = max((len(found) - last) * FRAME_SECS, 0.0)
    spans = utterances(found, duration, max_secs)
    assert all(0 <= span.start_secs < span.end_secs <= duration + 1e-4 for span in spans)
    for before, after in pairwise(spans):
        assert before.start_secs < after.start_secs
        assert before.end_secs < after.end_secs
        assert before.end_secs - after.start_secs <= OVERLAP_SECS + 1e-4
    for before, later in zip(spans, spans[2:], strict=False):
        assert before.end_secs <= later.start_secs + 1e-4
    assert all(span.duration_secs <= max_secs + 1e-4 for span in spans)
    for frame in np.flatnonzero(found >= THRESHOLD):
        start, end = frame * FRAME_SECS, min((frame + 1) * FRAME_SECS, duration)
        if end - start < 1e-4:
            continue
        assert any(s.start_secs <= start + 1e-4 and s.end_secs >= end - 1e-4 for s in spans)


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    found = np.full(1000, 0.95, np.float32)
    found[279:282] = 0.6
    found[250] = 0.55  # Quieter still, but one frame is no pause.
    found[100:103] = 0.55  # Nor is this in the last third of ten seconds.
    first, second, *_ = utterances(found, 32.0, 10.0)
    assert first == Span(0.0, 280 * FRAME_SECS + OVERLAP_SECS / 2)
    assert second.start_secs == pytest.approx(280 * FRAME_SECS - OVERLAP_SECS / 2)


def test_pads_of_neighbours_meet_in_the_middle() -> None:
    found = frames([(0.0, 20), (1.0, 20), (0.0, 12), (1.0, 20), (0.0, 40)])
    first, second = utterances(found, len(found) * FRAME_SECS, 20.0)
    assert first.end_secs == second.start_secs == pytest.approx(46 * FRAME_SECS, abs=1e-4)
    assert first.start_secs == pytest.approx(20 * FRAME_SECS - 0.3)
    assert second.end_secs == pytest.approx(72 * FRAME_SECS + 0.3)


def test_a_dip_that_stays_near_the_threshold_is_still_speech() -> None:
    dip = frames([(0.9, 20), (0.4, 40), (0.9, 20)])
    assert len(regions(dip, duration_secs=80 * FRAME_SECS, threshold=0.5)) == 1
    assert len(regions(dip, duration_secs=80 * FRAME_SECS, threshold=0.6)) == 2


def test_short_regions_are_dropped_only_when_asked() -> None:
    click = frames([(0.0, 30), (1.0, 2), (0.0, 30)])
    assert len(regions(click, duration_secs=2.0)) == 1
    assert regions(click, duration_secs=2.0, min_speech_secs=0.25) == []


def test_silence_and_nothing_have_no_utterances() -> None:
    assert utterances(np.zeros(100, np.float32), 3.2, 20.0) == []
    assert utterances(np.zeros(0, np.float32), 0.0, 20.0) == []


def test_a_bound_no_recogniser_has_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        utterances(np.zeros(1, np.float32), 0.032, 0.5)
