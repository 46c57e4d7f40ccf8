"""Detects truncated passages by the level of their end: speech fades, a cut does not."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples

_FRAME: Final = round(0.01 * SAMPLE_RATE_HZ)
_LOUD_DB: Final = -30.0
"""Level below that of loud frames at which audio counts as silence."""
_END_FRAMES: Final = 3
BREAKS_OFF_DB: Final = -12.0
"""From this level on, the end is named among the reasons of a failed check."""


def end_level_db(samples: Samples) -> float:
    """Mean level of the last 30 ms above silence, dB relative to the 90th percentile of all frames of 10 ms.

    ``samples``: ``(num_samples,) float32`` at 16 kHz mono. 0 for audio shorter than a frame.
    """
    count = samples.size // _FRAME
    if count == 0:
        return 0.0
    power = np.square(samples[: count * _FRAME].astype(np.float64)).reshape(count, _FRAME).mean(axis=1)
    levels = 10 * np.log10(power + 1e-12)
    relative = levels - np.percentile(levels, 90)
    last = int(np.flatnonzero(relative > _LOUD_DB)[-1])
    return float(relative[max(0, last - _END_FRAMES + 1) : last + 1].mean())
