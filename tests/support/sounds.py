"""Acoustic measures for tests of rendered audio."""

from __future__ import annotations

import numpy as np

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples


def level_dbfs(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def centroid_hz(samples: Samples) -> float:
    """Centre of gravity of the power spectrum."""
    power = np.square(np.abs(np.fft.rfft(samples)))
    return float((power * np.fft.rfftfreq(samples.size, 1 / SPEECH_RATE_HZ)).sum() / power.sum())


def periodicity(samples: Samples) -> float:
    """Median height of the autocorrelation's peak between 70 and 400 Hz over the louder frames: 1 is a steady tone."""
    size = SPEECH_RATE_HZ // 20
    frames = [samples[i : i + size].astype(np.float64) for i in range(0, samples.size - size, size // 2)]
    heights = []
    for frame in frames:
        if frame.std() > 0.3 * samples.std():
            correlation = np.correlate(frame - frame.mean(), frame - frame.mean(), "full")[size - 1 :]
            heights.append(correlation[SPEECH_RATE_HZ // 400 : SPEECH_RATE_HZ // 70].max() / correlation[0])
    return float(np.median(heights))


def bursts(samples: Samples, gap_secs: Seconds = 0.02) -> int:
    """Number of loud parts between dips of at least ``gap_secs`` well below the loudest."""
    step = SPEECH_RATE_HZ // 200
    power = np.square(samples[: samples.size // step * step], dtype=np.float64).reshape(-1, step).mean(axis=1)
    is_loud = power > 0.04 * power.max()
    count, quiet = 0, len(is_loud)
    for loud in is_loud:
        if loud and quiet * 0.005 >= gap_secs:
            count += 1
        quiet = 0 if loud else quiet + 1
    return count
