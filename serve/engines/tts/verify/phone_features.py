"""Features of the acoustic model: 40 log-mel bands every 10 ms, normalised for level and partly for timbre."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples

Frames = NDArray[np.float32]

FRAME_SECS: Final[Seconds] = 0.01
NUM_BANDS: Final = 40
_HOP: Final = SAMPLE_RATE_HZ // 100
_WINDOW: Final = 400
_FFT: Final = 512
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7_600.0
_FLOOR: Final = 1e-4
"""Added to every band, relative to the mean power of the loud frames, like noise of -40 dB but deterministic. It makes
digital silence, faint dither and a quiet room equal."""


def log_mel(samples: Samples) -> Frames:
    """``(num_frames, 40) float32`` of ``(num_samples,) float32`` at 16 kHz mono; no frame for less than 25 ms.

    Half of each band's mean over the loud frames is subtracted: all of it would remove the phones of a short passage, none
    of it would leave the voice's timbre.
    """
    if samples.size < _WINDOW:
        return np.zeros((0, NUM_BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), _FFT, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) @ _filterbank().T
    total = power.mean(axis=1)
    sounding = total > 0.05 * total.mean()
    level = total[sounding].mean() if sounding.any() else 0.0
    if level <= 0:
        return np.zeros((len(frames), NUM_BANDS), np.float32)
    logs = np.log(power / level + _FLOOR)
    logs -= 0.5 * logs[sounding].mean(axis=0)
    return np.asarray(logs / 3.0 + 0.5, np.float32)


@cache
def _filterbank() -> NDArray[np.float64]:
    """``(40, 257)`` triangles, evenly spaced in mel, each of unit area."""

    def mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(2595 * np.log10(1 + np.asarray(hz) / 700))

    edges = 700 * (10 ** (np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), NUM_BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return np.asarray(triangles / np.maximum(triangles.sum(axis=1, keepdims=True), 1e-9))
