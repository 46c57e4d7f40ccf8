"""Clustering finds well-parted voices, names them in order, and stays quick on long recordings."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.domain import Span, SpeakerHint
from serve.engines.diarization.embedding_diarizer import _window_centers
from serve.engines.diarization.resegmentation import Labels, resegment
from serve.engines.diarization.speaker_counting import find_voices
from serve.engines.diarization.weights import MAX_SPEAKERS
from serve.engines.diarization.window_turns import _smoothed, _turns_of

pytestmark = pytest.mark.unit


def cluster(embeddings: NDArray[np.float32], hint: SpeakerHint | None = None) -> Labels:
    return find_voices(embeddings, hint).first


def voices(order: list[int], spread: float = 0.02, seed: int = 0) -> NDArray[np.float32]:
    """``(len(order), 256)`` unit vectors: each voice a direction of its own with some spread around it."""
    generator = np.random.default_rng(seed)
    directions = np.maximum(generator.standard_normal((8, 256)), 0)
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
    started = time.process_time()
    labels = cluster(found)
    assert time.process_time() - started < 30
    assert np.mean(labels == np.array(order)) > 0.99


def test_windows_cover_a_span_to_its_end() -> None:
    centers = _window_centers(Span(1.0, 4.1))
    assert centers[0] - 1.0 == pytest.approx(4.1 - centers[-1])
    assert np.diff(centers).max() <= 0.22
    assert centers[-1] > 3.95
    assert _window_centers(Span(2.0, 2.25)).tolist() == pytest.approx([2.125])


def test_a_turn_changes_half_way_between_windows() -> None:
    turns = _turns_of(Span(0.0, 4.0), np.array([0.8, 1.05, 2.0, 2.25, 9.0]), np.array([0, 0, 1, 1, 0]))
    assert [(t.speaker, t.start_secs, t.end_secs) for t in turns] == [
        (0, 0.0, pytest.approx(1.525)),
        (1, pytest.approx(1.525), 4.0),
    ]


def test_a_span_without_windows_goes_to_the_nearest_voice() -> None:
    (turn,) = _turns_of(Span(5.0, 5.2), np.array([0.8, 9.0]), np.array([0, 1]))
    assert (turn.speaker, turn.start_secs, turn.end_secs) == (1, 5.0, 5.2)


def test_windows_that_are_all_alike_are_one_voice() -> None:
    alike = np.repeat(voices([0]), 200, axis=0)
    assert set(cluster(alike).tolist()) == {0}


@pytest.mark.parametrize(("least", "most", "expected"), [(1, None, 3), (1, 2, 2), (2, 2, 2), (1, 1, 1)])
def test_the_client_bounds_the_number_of_voices(least: int, most: int | None, expected: int) -> None:
    found = voices([(i // 10) % 3 for i in range(120)], spread=0.03)
    assert len(set(cluster(found, SpeakerHint(least, most)).tolist())) == expected


def test_two_voices_counted_as_one_are_separated_if_the_client_requires_it() -> None:
    one, other = voices([0] * 40, spread=0.005), voices([1] * 40, spread=0.005)
    alike = one + 0.5 * other
    found = np.concatenate([one[:20], (alike / np.linalg.norm(alike, axis=1, keepdims=True))[:20], one[20:]])
    assert set(cluster(np.asarray(found, np.float32)).tolist()) == {0}
    parted = cluster(np.asarray(found, np.float32), SpeakerHint(2, 2)).tolist()
    assert parted == [0] * 20 + [1] * 20 + [0] * 20


def test_a_window_between_two_voices_holds_both() -> None:
    found = voices([0] * 60 + [1] * 60)
    mixed = found[:5] + found[60:65]
    both = np.concatenate([found[:60], mixed / np.linalg.norm(mixed, axis=1, keepdims=True), found[60:]])
    seconds = find_voices(np.asarray(both, np.float32)).second
    assert (seconds[60:65] >= 0).sum() >= 4
    assert (seconds[:60] == -1).all()
    assert (seconds[65:] == -1).all()


@pytest.mark.parametrize(("blended", "expected"), [(0.92, 2), (0.75, 3)])
def test_two_voices_at_once_are_no_third_one(blended: float, expected: int) -> None:
    """Of clusters apart from both voices, one lies as near as ``blended`` (a cosine) to their sum."""
    one, other, own = np.eye(256, dtype=np.float32)[:3]
    between = blended * (one + other) / np.sqrt(2) + np.sqrt(1 - blended**2) * own
    found = np.repeat(np.stack([one, between, other]), (40, 8, 40), axis=0)
    assert 1 - float(between @ one) > 0.335
    labels = cluster(np.asarray(found, np.float32))
    assert len(set(labels.tolist())) == expected
    assert labels[0] != labels[-1]


@pytest.mark.parametrize("seed", range(4))
def test_any_windows_give_a_voice_within_the_bounds(seed: int) -> None:
    found = np.random.default_rng(seed).standard_normal((7 * (seed + 1), 256))
    found = np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
    assert 1 <= len(set(cluster(found).tolist())) <= MAX_SPEAKERS
    assert len(set(cluster(found, SpeakerHint(1, 2)).tolist())) <= 2
    assert len(set(cluster(found, SpeakerHint(3, 3)).tolist())) == 3


def test_a_required_voice_is_kept_although_it_is_a_blend() -> None:
    one, other, own = np.eye(256, dtype=np.float32)[:3]
    between = 0.92 * (one + other) / np.sqrt(2) + np.sqrt(1 - 0.92**2) * own
    found = np.repeat(np.stack([one, between, other]), (40, 8, 40), axis=0)
    assert len(set(cluster(np.asarray(found, np.float32), SpeakerHint(3, 3)).tolist())) == 3


@pytest.mark.parametrize("least", [2, 3, 4, 5])
def test_a_required_number_of_voices_is_met_although_some_win_no_window(least: int) -> None:
    """One voice fits every window best; the others are never ahead, so no path would visit them."""
    likeness = np.full((40, 5), 0.5, np.float32)
    likeness[:, 0] = 0.9
    likeness[10:15, 1] = likeness[20:25, 2] = likeness[30:35, 3] = 0.8
    found = resegment(likeness, np.array([30, 3, 3, 2, 2]), least)
    assert len(set(found.first.tolist())) == least
    assert found.first.tolist()[10:15] == [1] * 5
    assert len(set(resegment(likeness, np.array([30, 3, 3, 2, 2])).first.tolist())) == 1


def test_as_many_voices_as_windows_can_be_required() -> None:
    assert sorted(resegment(np.full((3, 3), 0.5, np.float32), np.array([8, 1, 1]), 3).first.tolist()) == [0, 1, 2]


def test_a_frequent_voice_wins_a_window_that_fits_two_alike() -> None:
    likeness = np.array([[0.8, 0.5]] * 5 + [[0.70, 0.72]] + [[0.8, 0.5]] * 5 + [[0.5, 0.9]] * 5, np.float32)
    assert resegment(likeness, np.array([150, 5])).first.tolist() == [0] * 11 + [1] * 5
    assert resegment(np.zeros((0, 2), np.float32), np.array([1, 1])).first.tolist() == []


def test_windows_are_smoothed_by_neighbours_only() -> None:
    found = np.eye(4, dtype=np.float32)[[0, 1, 2]]
    smoothed = _smoothed(found, np.array([0.1, 0.3, 2.0]))
    assert np.allclose(np.linalg.norm(smoothed, axis=1), 1)
    assert smoothed[0] @ found[1] == pytest.approx(0.5 / np.sqrt(1.25))
    assert np.array_equal(smoothed[2], found[2])
