"""Bayesian optimisation over the style space: finds the point whose speech is most similar to a target, in few renders.

The measurements at a point (a voiceprint and a pitch) are modelled by a Gaussian process: linear in the point plus a smooth
deviation, one kernel for all outputs (Rasmussen & Williams 2006, chapter 2). It starts from the built-in voices and is
updated with each trial. The next trial is where the expected score plus a weight of its uncertainty is highest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_LINEAR, _SMOOTH = 1.0, 1.0
"""Prior variance of the linear part and of the deviation, relative to each other."""
_LENGTH: Final = 0.7
"""How far the deviation reaches, in units of the distance of a built-in voice from their mean."""
_NOISE: Final = 0.05
"""Variance of measurements at one point, which depend on the sentence."""
_CURIOSITY: Final = (0.02, 0.08)
"""Weight of the model's uncertainty in the first and in the second trial of a pair."""
_STEPS: Final = (0.15, 0.3, 0.5)
_NUM_INCUMBENTS: Final = 3
_NUM_DRAWS: Final = 600
_NUM_ROUNDS: Final = 20
_NUM_SURVIVORS: Final = 30
_SHRINK: Final = 0.85
_PITCH_TOLERANCE_OCTAVES: Final = 0.12
_PITCH_WEIGHT: Final = 0.15
"""Penalty for an octave of wrong pitch beyond the tolerance, as a cosine."""


@dataclass(frozen=True, slots=True)
class Target:
    """``voiceprint``: ``(dim,)``, L2-normalised. ``octaves``: binary logarithm of the median pitch in Hz."""

    voiceprint: Vector
    octaves: float

    def scores(self, measured: Matrix) -> Vector:
        """``(num_points,)`` cosine to the voiceprint minus the penalty for a wrong pitch. ``measured``: measurements,
        ``(num_points, dim + 1)``: a voiceprint, not necessarily normalised, and the pitch in octaves."""
        prints = measured[:, :-1]
        cosines = prints @ self.voiceprint / np.maximum(np.linalg.norm(prints, axis=1), 1e-9)
        excess = np.maximum(np.abs(measured[:, -1] - self.octaves) - _PITCH_TOLERANCE_OCTAVES, 0.0)
        scores: Vector = cosines - _PITCH_WEIGHT * excess
        return scores


class MeasurementModel:
    """Predicts the measurements at a point from those at others."""

    def __init__(self, spreads: Vector, scale: float) -> None:
        """``spreads``: ``(dim,)`` weight of each axis. ``scale``: typical length of a weighted point."""
        self._weights = np.sqrt(spreads) / scale

    def fit(self, points: Matrix, measured: Matrix) -> None:
        self._points = points * self._weights
        self._mean = measured.mean(axis=0)
        kernel = self._kernel(self._points, self._points)
        self._factor = cho_factor(kernel + _NOISE * np.eye(len(points)))
        self._coefficients = cho_solve(self._factor, measured - self._mean)

    def predict(self, points: Matrix) -> tuple[Matrix, Vector]:
        """(expected measurements, ``(num_points, dim + 1)``, and their uncertainty, ``(num_points,)``)."""
        scaled = points * self._weights
        kernel = self._kernel(scaled, self._points)
        prior = _LINEAR * np.square(scaled).sum(axis=1) + _SMOOTH
        explained = np.einsum("ij,ji->i", kernel, cho_solve(self._factor, kernel.T))
        return self._mean + kernel @ self._coefficients, np.sqrt(np.maximum(prior - explained, 1e-9))

    @staticmethod
    def _kernel(left: Matrix, right: Matrix) -> Matrix:
        products = left @ right.T
        squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1) - 2 * products
        kernel: Matrix = _LINEAR * products + _SMOOTH * np.exp(-np.maximum(squares, 0.0) / (2 * _LENGTH**2))
        return kernel


class StyleSearch:
    """`ask` returns the next points to render, `tell` takes the measurements there. Deterministic."""

    def __init__(self, points: Matrix, measured: Matrix, spreads: Vector, target: Target, seed: int = 0) -> None:
        """``points``, ``measured``: ``(num_known, dim)`` and ``(num_known, voiceprint_dim + 1)`` of the built-in voices."""
        self._known = len(points)
        self._points, self._measured = points, measured
        self._target = target
        self._rng = np.random.default_rng(seed)
        scale = float(np.sqrt(np.square(points * np.sqrt(spreads)).sum(axis=1).mean()))
        self._model = MeasurementModel(spreads, scale)
        # Speech degrades farther out than the built-in voices.
        self._radius = float(np.linalg.norm(points, axis=1).mean())
        self._model.fit(points, measured)

    def ask(self, count: int) -> Matrix:
        """``(count, dim)`` points to try. `tell` must have been called before."""
        asked: list[Vector] = []
        while len(asked) < count:
            asked.append(self._proposed(_CURIOSITY[len(asked) % len(_CURIOSITY)], np.array(asked)))
        return np.array(asked)

    def tell(self, points: Matrix, measured: Matrix) -> None:
        """Add the measurements at ``points``, ``(num_points, voiceprint_dim + 1)``."""
        self._points = np.concatenate((self._points, points))
        self._measured = np.concatenate((self._measured, measured))
        self._model.fit(self._points, self._measured)

    def best(self, count: int) -> Matrix:
        """The tried points with the highest expected scores, best first; the model averages over neighbouring renders."""
        tried = self._points[self._known :]
        order = np.argsort(-self._target.scores(self._model.predict(tried)[0]), kind="stable")
        return tried[order[:count]]

    def _proposed(self, curiosity: float, pending: Matrix) -> Vector:
        incumbents = self.best(_NUM_INCUMBENTS)
        draws = np.concatenate([self._around(incumbents, step) for step in _STEPS])
        spread = _STEPS[0]
        for _ in range(_NUM_ROUNDS):
            survivors = draws[np.argsort(-self._promise(draws, curiosity, pending), kind="stable")[:_NUM_SURVIVORS]]
            draws = np.concatenate((survivors, self._around(survivors, spread)))
            spread *= _SHRINK
        promise = self._promise(draws, curiosity, pending)
        return np.asarray(draws[int(np.argmax(promise))])

    def _around(self, centers: Matrix, step: float) -> Matrix:
        drawn = np.repeat(centers, _NUM_DRAWS // len(centers) // len(_STEPS), axis=0)
        moved = drawn + step * self._rng.normal(size=drawn.shape)
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        within: Matrix = moved * np.minimum(1.0, self._radius / lengths)
        return within

    def _promise(self, points: Matrix, curiosity: float, pending: Matrix) -> Vector:
        measured, uncertain = self._model.predict(points)
        promise = self._target.scores(measured) + curiosity * uncertain
        for other in pending:  # two neighbouring points in a pair would give the same information
            promise -= curiosity * np.exp(-np.square(points - other).sum(axis=1))
        return promise
