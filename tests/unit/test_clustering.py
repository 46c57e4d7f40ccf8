"""Spectral clustering finds well-parted voices, names them in order, and stays quick on long recordings."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.domain import Span
from serve.diarization.clustering import _turns_of, _window_centers
from serve.diarization.spectral import cluster


def voices(order: list[int], spread: float = 0.02, seed: int = 0) -> NDArray[np.float32]:
    """``(len(order), 256)`` unit vectors: each voice a direction of its own with some spread around it."""
    generator = np.random.default_rng(seed)
    directions = np.abs(generator.standard_normal((8, 256)))
    found = np.abs(directions[order] / 16 + spread * generator.standard_normal((len(order), 256)))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("speakers", [1, 2, 3])
def test_parted_voices_are_found_and_numbered_by_first_window(speakers: int) -> None:
    order = [7 - (i // 10) % speakers for i in range(120)]
    expected = [7 - voice for voice in order]
    assert cluster(voices(order)).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_windows_are_one_voice(count: int) -> None:
    assert cluster(voices([0] * count)).tolist() == [0] * count


def test_labels_do_not_change_from_call_to_call() -> None:
    found = voices([i % 3 for i in range(90)], spread=0.06)
    assert np.array_equal(cluster(found), cluster(found))


def test_ten_hours_of_windows_are_clustered_right_and_in_time() -> None:
    order = [(i // 40) % 2 for i in range(144_000)]
    found = voices(order)
    started = time.perf_counter()
    labels = cluster(found)
    assert time.perf_counter() - started < 30
    assert np.mean(labels == np.array(order)) > 0.99


def test_windows_cover_a_span_to_its_end() -> None:
    centers = _window_centers(Span(1.0, 4.1))
    assert centers[0] == pytest.approx(1.8)
    assert centers[-1] == pytest.approx(3.3)
    assert np.diff(centers).max() <= 0.2501
    assert _window_centers(Span(2.0, 2.3)).tolist() == pytest.approx([2.15])


def test_a_turn_changes_half_way_between_windows() -> None:
    turns = _turns_of(Span(0.0, 4.0), np.array([0.8, 1.05, 2.0, 2.25, 9.0]), np.array([0, 0, 1, 1, 0]))
    assert [(t.speaker, t.start_secs, t.end_secs) for t in turns] == [
        (0, 0.0, pytest.approx(1.525)),
        (1, pytest.approx(1.525), 4.0),
    ]


def test_a_span_without_windows_goes_to_the_nearest_voice() -> None:
    (turn,) = _turns_of(Span(5.0, 5.2), np.array([0.8, 9.0]), np.array([0, 1]))
    assert (turn.speaker, turn.start_secs, turn.end_secs) == (1, 5.0, 5.2)
