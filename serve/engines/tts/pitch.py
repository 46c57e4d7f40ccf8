"""Pitch and syllable rate of speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, resample_poly, sosfiltfilt

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples

_RATE_HZ: Final = 8_000
_FRAME: Final = 320
_HOP: Final = 80
_LOWEST_HZ, _HIGHEST_HZ = 60, 420
_VOICED: Final = 0.55
_NUCLEI_RATE_HZ: Final = 100


@dataclass(frozen=True, slots=True)
class Melody:
    """``median_hz`` of the voiced frames, and their share of all."""

    median_hz: float
    voiced_share: float


def melody(samples: Samples) -> Melody:
    """Pitch of ``samples`` at 24 kHz by normalised autocorrelation over 40 ms (Boersma 1993). Zeros if none
    is voiced."""
    contour = pitch_contour(samples)
    voiced = contour[contour > 0]
    if voiced.size < 5:
        return Melody(0.0, 0.0)
    return Melody(float(np.median(voiced)), voiced.size / contour.size)


def pitch_contour(samples: Samples) -> NDArray[np.float64]:
    """``(num_frames,)`` Hz each 10 ms, 0 where unvoiced."""
    signal = resample_poly(samples.astype(np.float64), 1, SPEECH_RATE_HZ // _RATE_HZ)
    if signal.size < _FRAME:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(signal, _FRAME)[::_HOP]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(_FRAME)
    lags = _autocorrelation(frames) / _autocorrelation(np.hanning(_FRAME)[None])
    energy = lags[:, :1]
    lags = lags / np.maximum(energy, 1e-12)
    first, last = _RATE_HZ // _HIGHEST_HZ, _RATE_HZ // _LOWEST_HZ
    peaks, before, after = lags[:, first:last], lags[:, first - 1 : last - 1], lags[:, first + 1 : last + 1]
    best = peaks.max(axis=1)
    # Of nearly equal peaks the shortest lag is the period; the others are its multiples.
    is_candidate = (peaks >= before) & (peaks >= after) & (peaks >= 0.9 * best[:, None])
    lag = first + np.argmax(is_candidate, axis=1)
    is_voiced = is_candidate.any(axis=1) & (best > _VOICED) & (energy[:, 0] > 0.01 * energy.max())
    left, middle, right = (np.take_along_axis(lags, lag[:, None] + step, 1)[:, 0] for step in (-1, 0, 1))
    curve = np.minimum(left - 2 * middle + right, -1e-9)
    period = lag + np.clip(0.5 * (left - right) / curve, -0.5, 0.5)
    contour: NDArray[np.float64] = np.where(is_voiced, _RATE_HZ / period, 0.0)
    return contour


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(frames, 2 * _FRAME, axis=1)
    correlation: NDArray[np.float64] = np.fft.irfft(np.square(np.abs(spectrum)), axis=1)[:, : _RATE_HZ // _LOWEST_HZ + 2]
    return correlation


def syllable_rate_hz(samples: Samples) -> float:
    """Syllable nuclei a second: peaks of the loudness between 300 and 3,000 Hz (after Mermelstein 1975)."""
    band = butter(2, (300, 3000), "bandpass", fs=SPEECH_RATE_HZ, output="sos")
    power = np.square(sosfiltfilt(band, samples.astype(np.float64)))
    step = SPEECH_RATE_HZ // _NUCLEI_RATE_HZ
    loudness = np.sqrt(power[: power.size // step * step].reshape(-1, step).mean(axis=1))
    smooth = sosfiltfilt(butter(2, 8, "lowpass", fs=_NUCLEI_RATE_HZ, output="sos"), loudness)
    peaks, _ = find_peaks(smooth, height=0.15 * np.percentile(smooth, 95), prominence=0.1 * np.percentile(smooth, 95))
    spoken_secs = np.count_nonzero(smooth > 0.1 * np.percentile(smooth, 95)) / _NUCLEI_RATE_HZ
    return len(peaks) / spoken_secs if spoken_secs > 0 else 0.0
