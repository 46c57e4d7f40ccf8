"""Effects of room, microphone and telephone line on speech: levels, reverberation, noise, bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples


@dataclass(frozen=True, slots=True)
class Room:
    """Each pair is the range of a uniform draw.

    ``t60_secs``: time in which reverberation falls by 60 dB. ``drr_db``: energy of the direct sound over the rest.
    ``level_dbfs``: level of the loudest speaker. ``below_db``: how far each of the others is below. ``snr_db``: the
    loudest speaker over steady noise. ``rumble_db``: noise below 200 Hz over that noise. ``clicks``: sudden noises a
    minute. ``telephone``: 300 to 3,400 Hz, 8-bit mu-law.
    """

    t60_secs: tuple[Seconds, Seconds]
    drr_db: tuple[float, float]
    level_dbfs: tuple[float, float]
    below_db: tuple[float, float]
    snr_db: tuple[float, float]
    rumble_db: tuple[float, float]
    clicks: float = 2.0
    telephone: bool = False


ROOMS: Final = {
    "headset mix": Room((0.2, 0.6), (3, 20), (-42, -28), (0, 20), (22, 45), (0, 35), 6.0),
    "table": Room((0.3, 0.7), (-4, 6), (-45, -25), (0, 14), (10, 30), (0, 20), 6.0),
    "far": Room((0.4, 0.9), (-8, 0), (-50, -30), (0, 12), (3, 18), (0, 15), 4.0),
    "studio": Room((0.1, 0.3), (12, 30), (-30, -16), (0, 6), (35, 60), (0, 10), 1.0),
    "telephone": Room((0.1, 0.3), (8, 30), (-35, -18), (0, 12), (20, 45), (0, 5), 1.0, telephone=True),
}


def between(random: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(random.uniform(*bounds))


def gain(db: float) -> float:
    return float(10 ** (db / 20))


def reverberated(random: np.random.Generator, room: Room, samples: Samples) -> Samples:
    """``samples`` as heard from one place of the room: a direct sound, then noise that decays exponentially."""
    t60 = between(random, room.t60_secs)
    count = round(t60 * SAMPLE_RATE_HZ)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: round(random.uniform(0.002, 0.012) * SAMPLE_RATE_HZ)] = 0.0
    tail /= np.sqrt(np.sum(tail**2)) * gain(between(random, room.drr_db))
    tail[0] = 1.0
    wet = fftconvolve(samples, tail)[: len(samples)]
    return np.asarray(_tilted(random, wet), np.float32)


def _tilted(random: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """One microphone's colour: a gentle high- or low-pass of first order, or neither."""
    kind = random.random()
    if kind < 0.4:
        return np.asarray(sosfilt(butter(1, random.uniform(1500, 6000), "low", fs=SAMPLE_RATE_HZ, output="sos"), samples))
    if kind < 0.6:
        return np.asarray(sosfilt(butter(1, random.uniform(80, 500), "high", fs=SAMPLE_RATE_HZ, output="sos"), samples))
    return samples


def noise(random: np.random.Generator, room: Room, count: int, loudest_dbfs: float) -> Samples:
    """``(count,)`` of steady coloured noise, rumble that swells and fades, and sudden noises."""
    floor = gain(loudest_dbfs - between(random, room.snr_db))
    white = random.standard_normal(count)
    steady = sosfilt(butter(1, random.uniform(300, 7000), "low", fs=SAMPLE_RATE_HZ, output="sos"), white)
    steady *= floor / (np.std(steady) + 1e-12)
    deep = sosfilt(
        butter(2, random.uniform(60, 250), "low", fs=SAMPLE_RATE_HZ, output="sos"), random.standard_normal(count)
    )
    swell = np.interp(
        np.arange(count),
        np.arange(0, count + 16000, 8000),
        random.uniform(0, 1, count // 8000 + 3)[: len(np.arange(0, count + 16000, 8000))] ** 2,
    )
    deep *= swell * floor * gain(between(random, room.rumble_db)) / (np.std(deep) + 1e-12)
    found = steady + deep
    for _ in range(int(random.poisson(room.clicks * count / SAMPLE_RATE_HZ / 60))):
        length = round(random.uniform(0.01, 0.4) * SAMPLE_RATE_HZ)
        start = int(random.integers(0, max(1, count - length)))
        low = random.uniform(100, 3000)
        band = butter(2, (low, min(7800, low * random.uniform(1.5, 6))), "band", fs=SAMPLE_RATE_HZ, output="sos")
        burst = sosfilt(band, random.standard_normal(length)) * np.exp(-np.arange(length) * random.uniform(3, 8) / length)
        burst *= gain(loudest_dbfs + random.uniform(-25, 0)) / (np.std(burst) + 1e-12)
        found[start : start + length] += burst[: count - start]
    return np.asarray(found, np.float32)


def over_telephone(samples: Samples) -> Samples:
    """Through a line: 8 kHz, 300 to 3,400 Hz, mu-law with 8 bits (ITU-T G.711's curve)."""
    narrow = soxr.resample(samples, SAMPLE_RATE_HZ, 8000)
    narrow = sosfilt(butter(4, (300, 3400), "band", fs=8000, output="sos"), narrow).clip(-1, 1)
    coded = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return np.asarray(soxr.resample(decoded, 8000, SAMPLE_RATE_HZ)[: len(samples)], np.float32)
