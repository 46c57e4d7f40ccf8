"""Points of the style space stand for voices, and the search finds the one that sounds as wanted in few trials."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.engines.tts.style_search import StyleSearch, Target
from serve.engines.tts.style_space import STYLE_DIM, TIMBRE_DIM, Matrix, StyleSpace, Vector

pytestmark = pytest.mark.unit

NUM_ROWS = 510
NUM_VOICES = 41
PRINT_DIM = 64


def styles(seed: int = 3) -> dict[str, NDArray[np.float16]]:
    """Styles that vary along a few directions, as Kokoro's do, and with the number of tokens."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(40, STYLE_DIM)) * (0.8 ** np.arange(40))[:, None]
    drift = np.linspace(0, 1, NUM_ROWS)[:, None] * rng.normal(size=STYLE_DIM)
    return {
        f"af_{number:02}": (rng.normal(size=40) @ directions * 0.2 + 0.3 * drift).astype(np.float16)
        for number in range(NUM_VOICES)
    }


class Ear:
    """What is heard at a point: a smooth, bent image of it, as a voiceprint is, and a pitch that grows along one axis."""

    def __init__(self, space: StyleSpace, seed: int = 5) -> None:
        rng = np.random.default_rng(seed)
        self._spreads = space.spreads
        self._mean = rng.uniform(0, 1, PRINT_DIM)
        self._linear = rng.normal(size=(space.dim, PRINT_DIM)) * 0.5
        self._waves, self._phases = rng.normal(size=(space.dim, 40)), rng.uniform(0, 6, 40)
        self._bends = rng.normal(size=(40, PRINT_DIM)) * 0.05

    def __call__(self, points: Matrix) -> Matrix:
        x = points * self._spreads
        print_ = np.maximum(self._mean + x @ self._linear + np.sin(x @ self._waves + self._phases) @ self._bends, 0)
        octaves = 7 + 0.2 * points[:, :1]
        return np.concatenate((print_ / np.linalg.norm(print_, axis=1, keepdims=True), octaves), axis=1)


def target_at(ear: Ear, point: Vector) -> Target:
    heard = ear(point[None])[0]
    return Target(heard[:-1], float(heard[-1]))


def searched(space: StyleSpace, ear: Ear, target: Target, num_trials: int) -> StyleSearch:
    points = space.points()
    nearest = points[np.argsort(-target.scores(ear(points)))[:2]]
    search = StyleSearch(points, ear(points), space.spreads, target)
    search.tell(nearest, ear(nearest))
    for _ in range(num_trials // 2):
        asked = search.ask(2)
        search.tell(asked, ear(asked))
    return search


@pytest.mark.parametrize("seed", range(2))
def test_fifty_trials_come_much_nearer_than_the_nearest_voice(seed: int) -> None:
    space = StyleSpace(styles())
    ear = Ear(space)
    target = target_at(ear, np.random.default_rng(seed).normal(size=space.dim))
    nearest = target.scores(ear(space.points())).max()
    found = target.scores(ear(searched(space, ear, target, 50).best(1)))[0]
    assert 1 - found < 0.5 * (1 - nearest)


def test_the_search_asks_the_same_of_the_same_answers() -> None:
    space = StyleSpace(styles())
    ear = Ear(space)
    target = target_at(ear, np.random.default_rng(9).normal(size=space.dim))
    first, second = (searched(space, ear, target, 10).best(3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_no_point_is_farther_out_than_the_voices_themselves() -> None:
    space = StyleSpace(styles())
    ear = Ear(space)
    far = target_at(ear, np.full(space.dim, 4.0))
    asked = searched(space, ear, far, 30).best(20)
    assert np.linalg.norm(asked, axis=1).max() <= np.linalg.norm(space.points(), axis=1).max() + 1e-9


def test_a_wrong_pitch_costs_beyond_a_tolerance() -> None:
    print_ = np.array([0.6, 0.8])
    target = Target(print_, 7.0)
    near, octave_off, other = target.scores(np.array([[0.6, 0.8, 7.1], [1.2, 1.6, 8.0], [0.8, 0.6, 7.0]]))
    assert near == pytest.approx(1.0)
    assert 0.8 < octave_off < 0.9
    assert other == pytest.approx(0.96)


def test_the_voice_at_a_point_has_the_style_of_that_point() -> None:
    table = styles()
    space = StyleSpace(table)
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.full(NUM_VOICES, 0.2))
    point = rng.normal(size=space.dim)
    voice = space.voice(weights, point)
    assert sum(weight for _, weight in voice.style) == pytest.approx(1, abs=0.002)
    assert len(voice.style_offset) == STYLE_DIM
    mixed = sum(weight * table[name].astype(np.float64) for name, weight in voice.style) + np.array(voice.style_offset)
    np.testing.assert_allclose(space.project(mixed[20:60].mean(axis=0)), point, atol=0.02)


def test_a_mixture_without_an_offset_is_its_own_point() -> None:
    space = StyleSpace(styles())
    weights = np.zeros(NUM_VOICES)
    weights[[3, 8]] = 0.75, 0.25
    voice = space.voice(weights, space.mixed(weights))
    assert voice.style == (("af_03", 0.75), ("af_08", 0.25))
    assert np.abs(voice.style_offset).max() < 1e-3


def test_timbre_and_melody_have_axes_of_their_own() -> None:
    space = StyleSpace(styles())
    only_timbre = np.zeros(space.dim)
    only_timbre[0] = 1.0
    weights = np.full(NUM_VOICES, 1 / NUM_VOICES)
    offset = np.array(space.voice(weights, space.mixed(weights) + only_timbre).style_offset)
    assert np.abs(offset[:TIMBRE_DIM]).max() > 0.001
    assert np.abs(offset[TIMBRE_DIM:]).max() < 1e-6
