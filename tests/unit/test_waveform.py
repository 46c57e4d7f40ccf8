"""Peaks of a recording, against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from audio.waveform import POINTS_PER_SEC, peaks_of, reduced

pytestmark = pytest.mark.unit

RATE = 8_000


def test_a_point_is_the_loudest_sample_of_its_twentieth_of_a_second_in_either_direction() -> None:
    samples = np.zeros(2 * RATE, np.int16)
    samples[3 * RATE // POINTS_PER_SEC + 5] = -32_768
    samples[-1] = 16_384
    samples[-2] = -20
    peaks = peaks_of([samples], RATE)
    assert (peaks.dtype, peaks.size) == (np.uint8, 2 * POINTS_PER_SEC)
    assert {index: value for index, value in enumerate(peaks.tolist()) if value} == {3: 255, 39: 127}


def test_blocks_give_what_the_whole_gives_and_a_rest_is_left_out() -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_767, 5 * RATE + 100, np.int16)
    whole = peaks_of([samples], RATE)
    assert whole.size == 5 * POINTS_PER_SEC
    blocks = (samples[start : start + RATE] for start in range(0, samples.size, RATE))
    assert np.array_equal(peaks_of(blocks, RATE), whole)
    assert peaks_of([], RATE).size == peaks_of([samples[:100]], RATE).size == 0


def test_fewer_points_keep_the_loudest_of_each_part() -> None:
    peaks = np.arange(100, dtype=np.uint8)
    assert reduced(peaks, 4).tolist() == [24, 49, 74, 99]
    assert reduced(peaks, 100) is peaks
