"""Clicks in rendered speech: steps that no voice makes."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, sosfilt

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples

_HIGH_HZ: Final = 8_000
"""A step is as loud above this as below; a glottal pulse is not."""
_LEAST: Final = 0.015
_TIMES: Final = 6.5
"""A click stands out so many times from all around it. Of 41 Kokoro voices, two sentences each, none exceeds 4.3."""
_BESIDE, _AROUND = SPEECH_RATE_HZ // 1000, SPEECH_RATE_HZ // 100
_SILENCE: Final = SPEECH_RATE_HZ // 200
_EDGE_STEP: Final = 0.03


def clicks(sound: Samples) -> list[Seconds]:
    """Where ``(num_samples,) float32`` at 24 kHz steps: alone within 10 ms, or into or out of digital silence."""
    return sorted({round(at / SPEECH_RATE_HZ, 3) for at in (*_lone_steps(sound), *_open_silences(sound))})


def _lone_steps(sound: Samples) -> list[int]:
    high = np.abs(sosfilt(butter(6, _HIGH_HZ, "high", fs=SPEECH_RATE_HZ, output="sos"), sound.astype(np.float64)))
    peaks = maximum_filter1d(high, 7)
    # The loudest of what lies 1 to 10 ms to either side: an "s" is as loud all around, and a burst goes on.
    loudest = maximum_filter1d(high, _AROUND - _BESIDE + 1)
    center = (_AROUND + _BESIDE) // 2
    padded = np.pad(loudest, center)
    around = np.maximum(padded[: high.size], padded[2 * center :])
    return [int(at) for at in np.flatnonzero((peaks > _LEAST) & (peaks > _TIMES * (around + 2e-3)))]


def _open_silences(sound: Samples) -> list[int]:
    """Edges of 5 ms and more of silence at which the sound does not begin or end softly."""
    quiet = np.concatenate(([False], np.abs(sound) < 1e-4, [False]))
    starts, ends = (np.flatnonzero(np.diff(quiet.astype(np.int8)) == step) for step in (1, -1))
    edges = [edge for start, end in zip(starts, ends, strict=True) if end - start >= _SILENCE for edge in (start, end)]
    return [int(at) for at in edges if 0 < at < sound.size and abs(float(sound[at] - sound[at - 1])) > _EDGE_STEP]
