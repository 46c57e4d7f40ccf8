"""Regions of speech, from probabilities alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.segmentation import smoothed, speech_for_diarization
from audio.vad import FRAME_SECS, Probabilities, VoiceActivity, regions
from schemas.domain import SAMPLE_RATE_HZ
from tests.support.speech import SENTENCES, noise, say, sequence

pytestmark = pytest.mark.unit

FRAME = st.sampled_from([0.0, 0.1, 0.34, 0.36, 0.49, 0.5, 0.51, 0.9, 1.0])


@st.composite
def stretches(draw: st.DrawFn) -> Probabilities:
    """Runs of equal probability, as speech has, up to a minute."""
    runs = draw(st.lists(st.tuples(FRAME, st.integers(1, 120)), max_size=20))
    return np.repeat(np.array([p for p, _ in runs], np.float32), [n for _, n in runs])


def frames(probabilities: list[tuple[float, int]]) -> Probabilities:
    return np.repeat(np.array([p for p, _ in probabilities], np.float32), [n for _, n in probabilities])


def test_a_dip_that_stays_near_the_threshold_is_still_speech() -> None:
    dip = frames([(0.9, 20), (0.4, 40), (0.9, 20)])
    assert len(regions(dip, duration_secs=80 * FRAME_SECS, threshold=0.5)) == 1
    assert len(regions(dip, duration_secs=80 * FRAME_SECS, threshold=0.6)) == 2


def test_short_regions_are_dropped_only_when_asked() -> None:
    click = frames([(0.0, 30), (1.0, 2), (0.0, 30)])
    assert len(regions(click, duration_secs=2.0)) == 1
    assert regions(click, duration_secs=2.0, min_speech_secs=0.25) == []


def test_speech_of_which_no_frame_is_sure_is_talk_and_a_frame_alone_is_not() -> None:
    jumping = np.tile(np.array([0.05, 0.4, 0.15, 0.3, 0.08], np.float32), 12)
    quiet = np.full(100, 0.005, np.float32)
    alone = quiet.copy()
    alone[50] = 0.8
    found = np.concatenate([alone, jumping, quiet])
    (span,) = speech_for_diarization(found, len(found) * FRAME_SECS)
    assert span.start_secs == pytest.approx(100 * FRAME_SECS, abs=0.2)
    assert span.end_secs == pytest.approx(160 * FRAME_SECS, abs=0.2)


def test_a_near_voice_is_taken_at_its_word() -> None:
    found = frames([(0.01, 40), (0.99, 60), (0.01, 12), (0.99, 60), (0.01, 40)])
    assert [(s.start_secs, s.end_secs) for s in speech_for_diarization(found, len(found) * FRAME_SECS)] == [
        pytest.approx((40 * FRAME_SECS, 100 * FRAME_SECS)),
        pytest.approx((112 * FRAME_SECS, 172 * FRAME_SECS)),
    ]


@settings(max_examples=100, deadline=None)
@given(stretches(), st.floats(0.0, 1.0))
def test_talk_is_sorted_apart_and_inside_and_steadying_changes_no_length(found: Probabilities, last: float) -> None:
    duration = max((len(found) - last) * FRAME_SECS, 0.0)
    spans = speech_for_diarization(found, duration)
    assert all(0 <= s.start_secs < s.end_secs <= duration + 1e-4 for s in spans)
    assert all(a.end_secs < b.start_secs for a, b in pairwise(spans))
    steady = smoothed(found)
    assert len(steady) == len(found)
    assert not len(found) or found.min() - 1e-4 <= steady.min() <= steady.max() <= found.max() + 1e-4


@pytest.mark.parametrize("level", [0.0, 0.001, 0.3], ids=["silence", "hiss", "loud"])
def test_no_speech_is_found_in_silence_and_noise(level: float) -> None:
    assert speech_for_diarization(VoiceActivity().probabilities(noise(10, level)), 10.0) == []


def test_a_voice_in_a_noisy_room_is_found_where_it_is() -> None:
    samples, spans = sequence([say(text) for text in SENTENCES[:3]], gap_secs=3.0)
    rng = np.random.default_rng(3)
    room = rng.standard_normal(8000) * np.exp(-np.arange(8000) / 1800)
    room /= np.sqrt(np.sum(room**2))
    room[0] += 0.7
    far = np.convolve(samples, room)[: samples.size]
    far = far * 0.01 / np.sqrt(np.mean(far**2)) + noise(samples.size / SAMPLE_RATE_HZ, 0.004, 1)[: samples.size]
    probabilities = VoiceActivity().probabilities(far.astype(np.float32))
    assert not np.mean(probabilities[probabilities >= 0.2] >= 0.9) >= 0.9
    found = speech_for_diarization(probabilities, samples.size / SAMPLE_RATE_HZ)
    assert len(found) == len(spans)
    for talked, said in zip(found, spans, strict=True):
        assert talked.start_secs == pytest.approx(said.start_secs, abs=0.4)
        assert talked.end_secs == pytest.approx(said.end_secs, abs=0.7)
