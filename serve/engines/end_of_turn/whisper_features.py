"""Log-mel features for Whisper's encoder, for a window of fixed length.

FFT of 400 samples, hop 160, periodic Hann window, 80 mel bands on Slaney's scale. They equal those of transformers'
`WhisperFeatureExtractor`, to which the tests compare them.
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples

_FFT: Final = 400
_HOP: Final = 160
_BANDS: Final = 80
_FLOOR: Final = 1e-10
_RANGE: Final = 8.0
"""Dynamic range below the maximum, in decades."""
_VARIANCE_FLOOR: Final = 1e-7
_LINEAR_HZ: Final = 1000.0
_HZ_PER_MEL: Final = 200.0 / 3
_MELS_PER_LOG: Final = 27.0 / np.log(6.4)

Frames: TypeAlias = NDArray[np.float32]


def log_mel(samples: Samples) -> Frames:
    """``(num_samples,) float32`` at 16 kHz to ``(80, num_samples // 160) float32``.

    The audio is first normalised to zero mean and unit variance, so that its level has no effect.
    """
    level = (samples - samples.mean()) / np.sqrt(samples.var() + _VARIANCE_FLOOR)
    padded = np.pad(level.astype(np.float32), _FFT // 2, mode="reflect")
    frames = sliding_window_view(padded, _FFT)[::_HOP][:-1]
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    found = np.log10(np.maximum(_filters() @ power.T, _FLOOR))
    found = np.maximum(found, found.max() - _RANGE)
    return np.asarray((found + 4.0) / 4.0, np.float32)


@cache
def _window() -> NDArray[np.float32]:
    """Periodic Hann: one sample longer than needed, without the last."""
    return np.hanning(_FFT + 1)[:-1].astype(np.float32)


@cache
def _filters() -> NDArray[np.float32]:
    """``(80, 201)``: triangles that overlap by half on Slaney's scale, each of the same area."""
    edges = _hz(np.linspace(0.0, _mel(SAMPLE_RATE_HZ / 2), _BANDS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE_HZ / 2, _FFT // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (high - low)), np.float32)


def _mel(hz: float) -> float:
    """Linear to 1 kHz, logarithmic above."""
    if hz < _LINEAR_HZ:
        return hz / _HZ_PER_MEL
    return float(_LINEAR_HZ / _HZ_PER_MEL + np.log(hz / _LINEAR_HZ) * _MELS_PER_LOG)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    bend = _LINEAR_HZ / _HZ_PER_MEL
    return np.where(mels < bend, mels * _HZ_PER_MEL, _LINEAR_HZ * np.exp((mels - bend) / _MELS_PER_LOG))
