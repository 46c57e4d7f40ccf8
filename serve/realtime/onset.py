"""Finds the possible beginning of speech within a frame, before it is certain that somebody speaks."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PROBABILITY: Final = 0.3
_RATIO: Final = 3.0
"""Rise of the level above the noise that may be speech: 10 dB."""
_LEAST_LEVEL: Final = 0.004 * 32768
"""Root mean square of the quietest possible beginning: -48 dB of full scale."""
_ADAPTS: Final = 0.1
"""Share of a frame in the estimate of the noise."""
_HOLD_FRAMES: Final = 6
"""How long an onset lasts at most without a decision of the voice activity detector: .19 s."""


class Onset:
    """Processes the frames outside of turns.

    An onset ends with the beginning of a turn, or after `_HOLD_FRAMES`. After that no onset is reported for the same
    number of frames, so that noise cannot delay a response.
    """

    def __init__(self) -> None:
        self._noise = _LEAST_LEVEL / _RATIO
        self._held = 0
        self._rests = 0

    def feed(self, samples: NDArray[np.int16], probability: float) -> bool:
        """Process a frame; returns whether speech may have begun in it or shortly before."""
        level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
        sounds = probability >= _PROBABILITY or level > max(_LEAST_LEVEL, _RATIO * self._noise)
        if not sounds or self._rests:
            self._noise += _ADAPTS * (level - self._noise)
        if self._rests:
            self._rests -= 1
            return False
        self._held = self._held + 1 if sounds else 0
        if self._held > _HOLD_FRAMES:
            self._noise, self._rests, self._held = level, _HOLD_FRAMES, 0
            return False
        return sounds

    def reset(self) -> None:
        """A turn began."""
        self._held = self._rests = 0
