"""Mixes channels to mono by their mean. Channels of inverted phase, which would cancel others, are inverted first."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.engines import Samples

OPPOSITE: Final = -0.6
"""Correlation with the strongest channel below which a channel counts as inverted; spaced microphones stay above."""
IN_PHASE: Final = 0.3
"""Above this an inverted channel counts as in phase again."""
MEMORY_SECS: Final = 4.0
"""Half-life of the averages of past audio."""


class Mixer:
    """Mixes consecutive frames of one track; its averages start again when the number of channels changes."""

    def __init__(self) -> None:
        self._signs: NDArray[np.float32] = np.ones(0, np.float32)
        self._covariance: NDArray[np.float64] = np.zeros((0, 0))

    def mix(self, values: NDArray[Any], rate_hz: int) -> Samples:
        """``(channels, num_samples)`` in any scale to ``(num_samples,) float32`` in the same."""
        if len(values) == 1:
            only: Samples = values[0].astype(np.float32)
            return only
        channels = values.astype(np.float32)
        self._listen(channels, rate_hz)
        mono: Samples = (self._signs @ channels) / np.float32(len(channels))
        return mono

    def _listen(self, channels: NDArray[np.float32], rate_hz: int) -> None:
        count, num_samples = channels.shape
        if count != len(self._signs):
            self._signs, self._covariance = np.ones(count, np.float32), np.zeros((count, count))
        if not num_samples:
            return
        # A constant offset is not audible, so it must not affect the correlation.
        centred = channels - channels.mean(axis=1, keepdims=True)
        keep = 0.5 ** (num_samples / (MEMORY_SECS * rate_hz))
        self._covariance = keep * self._covariance + (centred @ centred.T).astype(np.float64)
        power = np.diag(self._covariance)
        strongest = int(power.argmax())
        scale = np.sqrt(power * power[strongest])
        if not np.isfinite(scale).all() or not power[strongest]:
            return
        correlation = np.divide(self._covariance[strongest], scale, out=np.zeros(count), where=scale > 0)
        relative = self._signs * self._signs[strongest]
        inverted = np.where(relative < 0, correlation < IN_PHASE, correlation < OPPOSITE)
        signs = np.where(inverted, -1.0, 1.0).astype(np.float32)
        # The first channel keeps its sign. Otherwise a change of the strongest channel would invert the whole mix.
        self._signs = signs * signs[0]
