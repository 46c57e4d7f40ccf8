"""A streaming equaliser for voices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin2, lfilter

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples

BANDS_HZ: Final = (100, 200, 300, 420, 560, 720, 900, 1120, 1400, 1750, 2200, 2750, 3400, 4200, 5200, 6500, 8200, 10000)
"""Centres of the equaliser's bands, about as wide as the ear's."""
_TAPS: Final = 385


class Equalizer:
    """A linear-phase filter through the gains of the bands. Its output lags by 8 ms of silence, which the trimmer cuts."""

    def __init__(self, gains_db: Sequence[float]) -> None:
        """``gains_db`` has a gain for each of `BANDS_HZ`, or is empty."""
        self._taps = _design(tuple(gains_db)) if gains_db else None
        self._state = np.zeros(_TAPS - 1, np.float64)

    def feed(self, samples: Samples) -> Samples:
        """``(num_samples,) float32`` at 24 kHz to as many."""
        if self._taps is None or not samples.size:
            return samples
        filtered, self._state = lfilter(self._taps, 1.0, samples, zi=self._state)
        return np.asarray(filtered, np.float32)

    def finish(self) -> Samples:
        """The remaining samples of the filter."""
        return self.feed(np.zeros(_TAPS - 1, np.float32)) if self._taps is not None else np.zeros(0, np.float32)


@lru_cache(maxsize=256)
def _design(gains_db: tuple[float, ...]) -> NDArray[np.float64]:
    edges_hz = (0.0, *BANDS_HZ, SPEECH_RATE_HZ / 2)
    gains = 10 ** (np.array((gains_db[0], *gains_db, gains_db[-1])) / 20)
    taps: NDArray[np.float64] = firwin2(_TAPS, edges_hz, gains, fs=SPEECH_RATE_HZ)
    return taps


def band_levels_db(samples: Samples) -> NDArray[np.float64]:
    """``(len(BANDS_HZ),)`` long-term level of the audible parts of ``samples`` at 24 kHz in each band, dB."""
    size = 1024
    starts = np.arange(0, max(1, samples.size - size), size // 2)
    frames = np.stack([np.pad(samples[i : i + size], (0, max(0, size - samples[i : i + size].size))) for i in starts])
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    frames = frames[power > power.max() * 10**-2.5]
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))).mean(axis=0)
    bins_hz = np.fft.rfftfreq(size, 1 / SPEECH_RATE_HZ)
    bounds = np.sqrt(np.array((BANDS_HZ[0] ** 2 / BANDS_HZ[1], *BANDS_HZ)) * np.array((*BANDS_HZ, 12_000)))
    means = [spectrum[(bins_hz >= low) & (bins_hz < high)].mean() for low, high in pairwise(bounds)]
    levels: NDArray[np.float64] = 10 * np.log10(np.array(means) + 1e-12)
    return levels
