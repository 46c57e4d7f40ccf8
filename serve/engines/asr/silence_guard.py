"""Detects audio without speech: silence, and noise or hum that is steadier than speech."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples

_SILENCE_LEVEL: Final = 1.5 / 32768
"""One step of s16: the level that a codec or resampler leaves of digital silence."""

_FRAME: Final = SAMPLE_RATE_HZ * 25 // 1000
_STATIONARY_DB: Final = 3.0
"""Spread of frame levels below which audio counts as steady noise or hum. Speech 10 dB over its background spreads
by 10 dB; white noise by under 1 dB."""


def is_speechless(samples: Samples) -> bool:
    """Whether the audio consists of silence, steady noise or hum, in which a recogniser may find words."""
    if not samples.size or float(np.max(np.abs(samples))) <= _SILENCE_LEVEL:
        return True
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    if len(frames) < 2:
        return False
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    quiet, loud = np.percentile(10 * np.log10(power + _SILENCE_LEVEL**2), (5, 95))
    return bool(loud - quiet < _STATIONARY_DB)
