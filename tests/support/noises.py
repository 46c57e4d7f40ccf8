"""Audio without speech at 16 kHz, for which a recogniser must return no words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples

_NOTES_HZ: Final = (110.0, 130.8, 146.8, 164.8)
_CHORDS: Final = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))


def white(duration_secs: Seconds, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(round(duration_secs * SAMPLE_RATE_HZ))


def pink(duration_secs: Seconds, seed: int) -> NDArray[np.float64]:
    """Equal power in each octave."""
    noise = white(duration_secs, seed)
    spectrum = np.fft.rfft(noise)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(spectrum.size), 1)), noise.size)


def hum(hz: float) -> Callable[[Seconds, int], NDArray[np.float64]]:
    """Mains hum with some of its harmonics."""

    def made(duration_secs: Seconds, _: int) -> NDArray[np.float64]:
        at = np.arange(round(duration_secs * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        return np.sum([np.sin(2 * np.pi * hz * k * at) / k for k in (1, 2, 3, 5)], axis=0)

    return made


def music(duration_secs: Seconds, seed: int) -> NDArray[np.float64]:
    """Chords, an arpeggio over them, and drums."""
    random = np.random.default_rng(seed)
    beat = int(SAMPLE_RATE_HZ * random.uniform(0.25, 0.45))
    sound = np.zeros(round(duration_secs * SAMPLE_RATE_HZ) + 4 * beat)
    root, at = random.choice(_NOTES_HZ), np.arange(4 * beat) / SAMPLE_RATE_HZ
    for number, start in enumerate(range(0, sound.size - 4 * beat, beat)):
        chord = _CHORDS[number // 4 % len(_CHORDS)]
        if number % 4 == 0:
            for step in chord:
                sound[start : start + at.size] += 0.3 * _tone(root * 2 ** (step / 12), at) * np.exp(-0.8 * at)
        step = chord[number % 3] + 12
        sound[start : start + at.size] += 0.5 * _tone(root * 2 ** (step / 12), at) * np.exp(-5 * at)
        drum = random.standard_normal(at.size) * np.exp(-33 * at) if number % 2 else np.sin(2 * np.pi * 60 * at)
        sound[start : start + at.size] += 0.6 * drum * np.exp(-12 * at)
    return sound[: -4 * beat]


def breath(duration_secs: Seconds, seed: int) -> NDArray[np.float64]:
    """Breathing in and out, every 3.2 s, with a faint room."""
    noise = white(duration_secs, seed)
    blown = sosfilt(butter(2, [300, 4000], "band", fs=SAMPLE_RATE_HZ, output="sos"), noise)
    envelope = np.clip(np.sin(2 * np.pi * np.arange(noise.size) / SAMPLE_RATE_HZ / 3.2), 0, 1) ** 1.5
    return np.asarray(blown * envelope + 1e-3 * noise[::-1])


def steps(duration_secs: Seconds, seed: int) -> NDArray[np.float64]:
    """A knock every half second."""
    noise = white(duration_secs, seed)
    since = np.arange(noise.size) % (SAMPLE_RATE_HZ // 2)
    return np.asarray(noise * (np.exp(-since / 300) + 1e-3))


def _tone(hz: float, at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sum([np.sin(2 * np.pi * hz * k * at) * 0.55**k for k in range(1, 6)], axis=0)


KINDS: Final[dict[str, Callable[[Seconds, int], NDArray[np.float64]]]] = {
    "white noise": white,
    "pink noise": pink,
    "50 Hz hum": hum(50),
    "120 Hz hum": hum(120),
    "music": music,
    "breath": breath,
    "steps": steps,
}


def noise_of(kind: str, duration_secs: Seconds, level: float, seed: int = 0) -> Samples:
    """``kind`` at an RMS of ``level``: ``(num_samples,) float32``."""
    sound = KINDS[kind](duration_secs, seed)
    return np.asarray(sound * level / np.sqrt(np.mean(np.square(sound))), np.float32)
