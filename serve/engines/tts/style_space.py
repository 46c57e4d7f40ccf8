"""The space of a synthesiser's styles: points of few dimensions, each of which defines a voice.

A style of Kokoro is a vector of 256 numbers; the first half determines timbre, the second pitch and rhythm
(Li et al. 2023, StyleTTS 2, arXiv:2306.07691). The built-in styles vary mostly along a few directions of each half, their
principal components. A point has the coordinates along these, so a search has tens of dimensions and not 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

STYLE_DIM: Final = 256
TIMBRE_DIM: Final = 128
NUM_TIMBRE_AXES: Final = 20
NUM_MELODY_AXES: Final = 8
_FIRST_ROW, _END_ROW = 20, 60
"""Styles differ with the number of tokens; these rows are those of sentences of two to four seconds."""
_OFFSET_DECIMALS: Final = 4
_LEAST_WEIGHT: Final = 0.02


@dataclass(frozen=True, slots=True)
class StyleVoice:
    """Weights of built-in styles, which sum to 1, and the offset of every row of the mixture."""

    style: tuple[tuple[str, float], ...]
    style_offset: tuple[float, ...]


class StyleSpace:
    """Points are ``(dim,)``; one unit along any axis is the standard deviation of the built-in styles."""

    def __init__(self, styles: Mapping[str, NDArray[np.floating]]) -> None:
        """``styles``: ``(510, 256)`` of each voice, a row for each number of tokens."""
        self.names: Final = tuple(sorted(styles))
        self._means: Final = np.stack(
            [styles[name][_FIRST_ROW:_END_ROW].astype(np.float64).mean(axis=0) for name in self.names]
        )
        self._center: Final = self._means.mean(axis=0)
        differences = self._means - self._center
        self._axes: Final = np.zeros((NUM_TIMBRE_AXES + NUM_MELODY_AXES, STYLE_DIM))
        self._axes[:NUM_TIMBRE_AXES, :TIMBRE_DIM] = _principal_axes(differences[:, :TIMBRE_DIM], NUM_TIMBRE_AXES)
        self._axes[NUM_TIMBRE_AXES:, TIMBRE_DIM:] = _principal_axes(differences[:, TIMBRE_DIM:], NUM_MELODY_AXES)
        self.spreads: Final[Vector] = np.linalg.norm(self._axes, axis=1)
        """``(dim,)`` length of each axis in the space of styles: the standard deviation of the built-in styles."""

    @property
    def dim(self) -> int:
        return len(self._axes)

    def points(self) -> Matrix:
        """``(num_styles, dim)``: the built-in styles, in the order of ``names``."""
        return self.project(self._means)

    def mixed(self, weights: Vector) -> Vector:
        """The point of a mixture; ``weights`` is ``(num_styles,)`` and sums to 1."""
        return self.project(weights @ self._means)

    def voice(self, weights: Vector, point: Vector) -> StyleVoice:
        """The voice at ``point`` from the mixture of ``weights``: components outside the axes are the mixture's."""
        kept = np.where(weights < _LEAST_WEIGHT * weights.max(), 0.0, weights)
        kept = np.round(kept / kept.sum(), _OFFSET_DECIMALS)
        offset = (point - self.mixed(kept / kept.sum())) @ self._axes
        return StyleVoice(
            tuple((name, float(weight)) for name, weight in zip(self.names, kept, strict=True) if weight),
            tuple(round(float(value), _OFFSET_DECIMALS) for value in offset),
        )

    def project(self, styles: Matrix) -> Matrix:
        """``(..., 256)`` styles, each the mean of a table's rows 20 to 60, to their points ``(..., dim)``."""
        projected: Matrix = (styles - self._center) @ (self._axes / np.square(self.spreads)[:, None]).T
        return projected


def _principal_axes(differences: Matrix, num_axes: int) -> Matrix:
    """``(num_axes, dim)``, the largest first, as long as the standard deviation along each. Signs are fixed, because a
    decomposition may return either."""
    _, sizes, axes = np.linalg.svd(differences, full_matrices=False)
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    scaled: Matrix = (axes * (signs * sizes / np.sqrt(len(differences)))[:, None])[:num_axes]
    return scaled
